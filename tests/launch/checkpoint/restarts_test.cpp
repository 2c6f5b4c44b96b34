#include "launch/checkpoint/restarts.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "runtime/io/files/directory_lock.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

class RestartsOfARun : public testing::Test {
 protected:
  void begin() { std::ofstream(folder_.path("log.txt")) << "begun\n"; }
  void commit(int64_t step) { fs::create_directories(checkpoints_ + "/" + checkpoint_name(step)); }
  void restart() { count_restart(folder_.path(), checkpoints_); }
  /// That many restarts that commit nothing, and one that is refused.
  void expect_refused_after(int restarts, const char* since) {
    for (int i = 0; i < restarts; ++i) EXPECT_NO_THROW(restart()) << i;
    test::expect_error(ExitCode::no_progress, {"3 restarts in succession", since, "log.txt", "--resume STEP"},
                       [&] { restart(); });
  }

  test::TemporaryFolder folder_;
  std::string checkpoints_ = folder_.path("checkpoints");
};

TEST_F(RestartsOfARun, ThreeWithoutAnyCheckpoint) {
  restart();
  EXPECT_FALSE(fs::exists(checkpoints_)) << "the first start is no restart";
  begin();
  expect_refused_after(3, "after the start");
  EXPECT_EQ(read_restarts(checkpoints_).number, 3);
  expect_refused_after(0, "after the start");
  forget_restarts(checkpoints_);
  expect_refused_after(3, "after the start");
}

TEST_F(RestartsOfARun, ANewStepEndsTheSuccession) {
  begin();
  commit(20);
  restart();
  restart();
  commit(30);
  expect_refused_after(3, "after step 30");
  commit(40);
  restart();
  EXPECT_EQ(read_restarts(checkpoints_).step, 40);
  EXPECT_EQ(read_restarts(checkpoints_).number, 1);
}

TEST_F(RestartsOfARun, AStepThatWasThereBeforeIsNone) {
  begin();
  commit(10);
  commit(20);
  restart();
  restart();
  fs::remove_all(checkpoints_ + "/" + checkpoint_name(20));  // set aside: the one before is tried
  restart();
  commit(20);
  expect_refused_after(0, "after step 20");
}

TEST_F(RestartsOfARun, RequestedEndsCountForLessButDoCount) {
  begin();
  excuse_restart(checkpoints_);
  EXPECT_FALSE(fs::exists(checkpoints_)) << "the first start was not counted";
  for (int i = 0; i < 8; ++i) {
    EXPECT_NO_THROW(restart()) << i;
    excuse_restart(checkpoints_);
  }
  EXPECT_EQ(read_restarts(checkpoints_).number, 0);
  EXPECT_EQ(read_restarts(checkpoints_).requested, 8);
  restart();
  restart();
  test::expect_error(ExitCode::no_progress, {"10 restarts in succession"}, [&] { restart(); });
  commit(20);
  restart();
  EXPECT_EQ(read_restarts(checkpoints_).requested, 0);
}

TEST_F(RestartsOfARun, ANoteThatIsNoneCountsAsNothing) {
  begin();
  fs::create_directories(checkpoints_);
  for (const char* text : {"", "step-00000020", "step-x 3\n", "something 3\n", "none -4\n", "none 1 -3\n"}) {
    std::ofstream(checkpoints_ + "/restarts") << text;
    EXPECT_EQ(read_restarts(checkpoints_).number, 0) << text;
    EXPECT_NO_THROW(restart());
  }
}

TEST_F(RestartsOfARun, OfADirectoryInUseAreNotCounted) {
  begin();
  const DirectoryLock other(folder_.path());
  test::expect_error(ExitCode::usage, {folder_.path()}, [&] { restart(); });
  EXPECT_FALSE(fs::exists(checkpoints_));
}

}  // namespace
}  // namespace trireme::launch
