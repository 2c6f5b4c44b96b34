#include "runtime/comm/launcher.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme {

namespace {

/// The number in an environment variable, 0 when there is none.
int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return 0;
  const std::string_view view(text);
  int value = 0;
  std::from_chars(view.data(), view.data() + view.size(), value);
  return value;
}

}  // namespace

bool launched_under_mpi() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(variable) != nullptr) return true;
  }
  return false;
}

void check_launcher(int num_ranks) {
  if (num_ranks > 1) return;
  // mpirun within a Slurm step inherits the step's variables: its own come first.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const int tasks = number_in(variable);
    if (tasks == 1) return;
    if (tasks > 1) {
      throw_usage(
          "{}={}: {} tasks were started, but each sees only itself and would train alone; start them "
          "with 'srun --mpi=pmix' or 'mpirun', or one task with '-n 1'",
          variable, tasks, tasks);
    }
  }
}

}  // namespace trireme
