#include "launch/commands/spin_bound.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

int threads_of(std::vector<std::string> args) { return named_threads(args); }

TEST(SpinBound, ThreadsSpinAsLongAsWakingTakes) {
  const CoresGiven cores{.machine = 4, .allowed = 4, .quota = {}};
  EXPECT_EQ(spin_rounds(cores, 1, 4, false, 70e-9), 1000);  // of 140 cycles at 2 GHz
  EXPECT_EQ(spin_rounds(cores, 2, 2, false, 14e-9), 5000);
  EXPECT_EQ(spin_rounds(cores, 1, 4, false, 1e-3), 100);  // never by a wild measurement
  EXPECT_EQ(spin_rounds(cores, 1, 4, false, 1e-12), 20'000);
  EXPECT_EQ(spin_rounds(cores, 1, 4, true, 40e-9), 50'000);
  EXPECT_EQ(spin_rounds(cores, 1, 4, true, 1e-12), 500'000);
}

TEST(SpinBound, ThreadsThatTakeTurnsDoNotSpin) {
  EXPECT_EQ(spin_rounds({.machine = 2, .allowed = 2, .quota = {}}, 2, 2, false, 70e-9), 0);
  EXPECT_EQ(spin_rounds({.machine = 8, .allowed = 8, .quota = {2, "/a"}}, 1, 4, false, 70e-9), 0);
  EXPECT_EQ(spin_rounds({.machine = 8, .allowed = 1, .quota = {}}, 2, 2, false, 70e-9), 0);
}

TEST(SpinBound, TheThreadsThatArgumentsName) {
  EXPECT_EQ(threads_of({}), 0);
  EXPECT_EQ(threads_of({"--run.threads", "3"}), 3);
  EXPECT_EQ(threads_of({"--run.threads=3", "--train.steps", "8", "--run.threads=5"}), 5);
  EXPECT_EQ(threads_of({"--train.steps", "8", "--dry-run"}), 0);
  EXPECT_EQ(threads_of({"--run.threads", "many"}), 0);
  EXPECT_EQ(threads_of({"--run.threads", "-3"}), 0);
}

TEST(SpinBound, TheThreadsThatAFileNames) {
  const test::TemporaryFolder folder;
  const std::string file = (std::filesystem::path(folder.path()) / "run.ini").string();
  std::ofstream(file) << "[run]\nthreads = 6\n";
  EXPECT_EQ(threads_of({"--config", file}), 6);
  EXPECT_EQ(threads_of({"--run.threads", "2", "--config", file}), 2);
  EXPECT_EQ(threads_of({"--config", file + ".not"}), 0);
}

}  // namespace
}  // namespace trireme::launch
