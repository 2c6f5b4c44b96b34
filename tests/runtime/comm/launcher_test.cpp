#include "runtime/comm/launcher.h"

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme {
namespace {

/// The variables of launchers as given, restored afterwards; those not named are absent.
class LauncherVariables {
 public:
  explicit LauncherVariables(const std::vector<std::pair<std::string, std::string>>& variables) {
    for (const char* name :
         {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "PMI_SIZE",
          "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS",
          "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_MPI_TYPE", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK",
          "FLUX_JOB_SIZE", "FLUX_TASK_RANK", "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK"}) {
      const char* old = std::getenv(name);
      before_[name] = old ? std::optional<std::string>(old) : std::nullopt;
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~LauncherVariables() {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST(Launcher, OneProcessByItself) {
  const LauncherVariables none({});
  EXPECT_FALSE(launched_under_mpi());
  EXPECT_NO_THROW(check_launcher(1));
}

TEST(Launcher, MpirunAndSrunAreSeen) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    const LauncherVariables one({{std::string(name), "1"}});
    EXPECT_TRUE(launched_under_mpi()) << name;
  }
}

TEST(Launcher, TasksThatWouldTrainAloneAreRefusedWithTheFix) {
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"}) {
    const LauncherVariables four({{std::string(name), "4"}});
    EXPECT_NO_THROW(check_launcher(4));
    try {
      check_launcher(1);
      ADD_FAILURE() << name << " was not noticed";
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), ExitCode::usage);
      EXPECT_THAT(e.what(), testing::HasSubstr(std::string(name) + "=4"));
      EXPECT_THAT(e.what(), testing::HasSubstr("srun --mpi=pmix"));
    }
  }
}

/// Expects f() to throw a UserError (usage) whose message holds all of `parts`.
template <class F>
void expect_refused(std::initializer_list<const char*> parts, F&& f) {
  try {
    f();
    ADD_FAILURE() << "it was not noticed";
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    for (const char* part : parts) EXPECT_THAT(e.what(), testing::HasSubstr(part));
  }
}

TEST(Launcher, TasksOfOtherLaunchersAreRefused) {
  const std::pair<std::vector<std::pair<std::string, std::string>>, const char*> cases[] = {
      {{{"MV2_COMM_WORLD_SIZE", "2"}, {"MV2_COMM_WORLD_RANK", "1"}}, "MV2_COMM_WORLD_SIZE=2"},
      {{{"JSM_NAMESPACE_SIZE", "2"}, {"JSM_NAMESPACE_RANK", "1"}}, "mpirun inside the allocation"},
      {{{"FLUX_JOB_SIZE", "2"}, {"FLUX_TASK_RANK", "1"}}, "FLUX_JOB_SIZE=2"},
      {{{"WORLD_SIZE", "2"}, {"RANK", "1"}, {"TORCHELASTIC_RUN_ID", "x"}}, "torchrun"}};
  for (const auto& [variables, part] : cases) {
    const LauncherVariables set(variables);
    expect_refused({part}, [] { check_launcher(1); });
    EXPECT_EQ(launched_rank(), 1);
    expect_refused({"trireme launch starts the ranks itself"}, [] { check_started_once("trireme launch"); });
  }
  const LauncherVariables names_alone({{"WORLD_SIZE", "8"}, {"FLUX_JOB_SIZE", "8"}});
  EXPECT_NO_THROW(check_launcher(1)) << "these say nothing of this process";
  EXPECT_NO_THROW(check_started_once("trireme launch"));
}

TEST(Launcher, SrunWithoutPmixIsRefusedBeforeMpiStarts) {
  {
    const LauncherVariables pmi2({{"SLURM_PROCID", "1"},
                                  {"SLURM_STEP_NUM_TASKS", "2"},
                                  {"SLURM_MPI_TYPE", "pmi2"},
                                  {"PMI_RANK", "1"},
                                  {"PMI_SIZE", "2"}});
    expect_refused({"plugin 'pmi2'", "srun --mpi=pmix", "mpirun"}, [] { check_plugin(); });
  }
  {
    const LauncherVariables none({{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}});
    expect_refused({"plugin 'none'"}, [] { check_plugin(); });
  }
  const LauncherVariables pmix({{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"PMIX_RANK", "1"}});
  EXPECT_NO_THROW(check_plugin());
}

TEST(Launcher, AStepOfOneTaskWithoutPmixIsAloneWhateverItsPlugin) {
  const LauncherVariables one(
      {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "1"}});
  EXPECT_FALSE(launched_under_mpi());
  EXPECT_NO_THROW(check_launcher(1));
  EXPECT_NO_THROW(check_plugin());
}

TEST(Launcher, TheScriptOfAJobOfSeveralTasksDoesNotTrain) {
  std::vector<std::pair<std::string, std::string>> script = {
      {"SLURM_JOB_ID", "17"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}};
  {
    const LauncherVariables set(script);
    EXPECT_NO_THROW(check_launcher(1)) << "other commands run in a script";
    expect_refused({"SLURM_NTASKS=4", "srun --mpi=pmix", "trireme launch"}, [] { check_batch_script(); });
  }
  script.emplace_back("SLURM_STEP_NUM_TASKS", "1");
  const LauncherVariables step(script);
  EXPECT_NO_THROW(check_batch_script()) << "a step of one task, as a shell of salloc";
}

TEST(Launcher, MpirunOfOneRankWithinAStepOfSeveralTasks) {
  const LauncherVariables both({{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}});
  EXPECT_NO_THROW(check_launcher(1));
}

}  // namespace
}  // namespace trireme
