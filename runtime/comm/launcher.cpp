#include "runtime/comm/launcher.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme {

namespace {

bool has(const char* variable) { return std::getenv(variable) != nullptr; }

/// The number in an environment variable, 0 when there is none.
int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return 0;
  const std::string_view view(text);
  int value = 0;
  std::from_chars(view.data(), view.data() + view.size(), value);
  return value;
}

constexpr const char* kOfSlurm = "start them with 'srun --mpi=pmix' or 'mpirun', or one task with '-n 1'";
constexpr const char* kOfMpi =
    "start them with the mpirun of the MPI that this program is built with (trireme info names it), with "
    "'srun --mpi=pmix', or one with '-n 1'";
constexpr const char* kOfOthers =
    "start them with mpirun inside the allocation (trireme launch does it), or start one task";

struct Launcher {
  const char* variable;  ///< that has the number of its tasks
  const char* needs;     ///< a variable without which that number says nothing; null: none
  const char* fix;
};
// mpirun within a Slurm step inherits the step's variables: the nearest come first.
constexpr Launcher kLaunchers[] = {
    {"OMPI_COMM_WORLD_SIZE", nullptr, kOfMpi},
    {"MV2_COMM_WORLD_SIZE", nullptr, kOfMpi},
    {"PMI_SIZE", nullptr, kOfMpi},
    {"SLURM_STEP_NUM_TASKS", nullptr, kOfSlurm},
    {"JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK", kOfOthers},
    {"FLUX_JOB_SIZE", "FLUX_TASK_RANK", kOfOthers},
    {"WORLD_SIZE", "TORCHELASTIC_RUN_ID", "torchrun starts Python scripts: use mpirun or trireme launch"},
};

struct Launched {
  int tasks = 1;
  const Launcher* by = nullptr;
};

Launched launched() {
  for (const Launcher& launcher : kLaunchers) {
    if (launcher.needs != nullptr && !has(launcher.needs)) continue;
    if (const int tasks = number_in(launcher.variable); tasks > 0) return {tasks, &launcher};
  }
  return {};
}

bool is_in_step() { return has("SLURM_PROCID") && number_in("SLURM_STEP_NUM_TASKS") > 0; }

}  // namespace

bool launched_under_mpi() {
  if (has("OMPI_COMM_WORLD_SIZE") || has("PMIX_RANK")) return true;
  return has("PMI_RANK") && !(is_in_step() && number_in("SLURM_STEP_NUM_TASKS") == 1);
}

int launched_rank() {
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK",
                               "SLURM_PROCID", "JSM_NAMESPACE_RANK", "FLUX_TASK_RANK"}) {
    if (has(variable)) return number_in(variable);
  }
  return has("TORCHELASTIC_RUN_ID") ? number_in("RANK") : 0;
}

void check_launcher(int num_ranks) {
  if (num_ranks > 1) return;
  const Launched found = launched();
  if (found.tasks == 1) return;
  throw_usage("{}={}: {} tasks were started, but each sees only itself and would train alone; {}",
              found.by->variable, found.tasks, found.tasks, found.by->fix);
}

void check_plugin() {
  if (!is_in_step() || has("OMPI_COMM_WORLD_SIZE") || has("PMIX_RANK")) return;
  const int tasks = number_in("SLURM_STEP_NUM_TASKS");
  if (tasks == 1) return;
  const char* named = std::getenv("SLURM_MPI_TYPE");
  const std::string plugin = named != nullptr ? named : has("PMI_RANK") ? "pmi2" : "none";
  throw_usage(
      "SLURM_STEP_NUM_TASKS={}: srun started {} tasks with its plugin '{}', and this program's MPI joins "
      "them "
      "through PMIx; use 'srun --mpi=pmix' ('srun --mpi=list' shows what there is), or mpirun inside the "
      "allocation",
      tasks, tasks, plugin);
}

void check_batch_script() {
  if (is_in_step() || !has("SLURM_JOB_ID") || has("OMPI_COMM_WORLD_SIZE")) return;
  const int tasks = number_in("SLURM_NTASKS");
  if (!has("SLURM_PROCID") || tasks <= 1) return;
  throw_usage(
      "SLURM_NTASKS={}: the job has {} tasks, but its script started this one process, which would train "
      "alone; put 'srun --mpi=pmix' before the command, or 'trireme launch --', or ask for one task (sbatch "
      "--ntasks=1)",
      tasks, tasks);
}

void check_started_once(const std::string& command) {
  const Launched found = launched();
  if (found.tasks == 1) return;
  throw_usage("{}={}: {} starts the ranks itself: run it once, without {}", found.by->variable, found.tasks,
              command, std::string_view(found.by->variable).starts_with("SLURM") ? "srun" : "mpirun");
}

}  // namespace trireme
