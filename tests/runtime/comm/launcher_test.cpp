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
         {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
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

TEST(Launcher, MpirunOfOneRankWithinAStepOfSeveralTasks) {
  const LauncherVariables both({{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}});
  EXPECT_NO_THROW(check_launcher(1));
}

}  // namespace
}  // namespace trireme
