#include "launch/checkpoint/run_checkpoints.h"

#include <cmath>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

#include "tests/support/long_names.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A run of one rank whose state is four floats, and whose copies can be held up.
class RunCheckpointsTest : public testing::Test {
 protected:
  RunCheckpoints make(int64_t every, SaveOverlap overlap = SaveOverlap::wait) {
    CheckpointConfig config;
    config.every = every;
    config.overlap = overlap;
    return RunCheckpoints(config, *self_, {}, folder_.path("checkpoints"));
  }
  RunCheckpoints make_keeping_the_best() {
    CheckpointConfig config;
    config.best = true;
    config.keep = 1;
    return RunCheckpoints(config, *self_, {}, folder_.path("checkpoints"));
  }
  bool is_there(int64_t step) const {
    return std::filesystem::exists(folder_.path("checkpoints/" + checkpoint_name(step)));
  }
  RunCheckpoints make_failing(SaveFailurePolicy failure) {
    CheckpointConfig config;
    config.failure = failure;
    return RunCheckpoints(config, *self_, {}, test::directory_of_too_long_names(folder_));
  }
  void save(RunCheckpoints& checkpoints, int64_t step, bool waits) {
    TrainingState state;
    state.step = step;
    SliceSource source{whole_slice("w", DType::f32, {4}), [this](Stream&, int64_t, std::span<std::byte> to) {
                         std::unique_lock lock(mutex_);
                         changed_.wait(lock, [&] { return !is_held_up_; });
                         std::memset(to.data(), 1, to.size());
                       }};
    checkpoints.save(std::move(state), {std::move(source)}, *stream_, waits);
  }
  void hold_up(bool is_held_up) {
    const std::lock_guard lock(mutex_);
    is_held_up_ = is_held_up;
    changed_.notify_all();
  }

  const test::TemporaryFolder folder_;
  const std::unique_ptr<Communicator> self_ = make_self_communicator();
  const std::unique_ptr<Stream> stream_ = cpu::make_compute_stream();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_held_up_ = false;
};

auto news(int64_t step, const testing::Matcher<std::string>& line) {
  return testing::AllOf(testing::Field(&CheckpointNews::step, step),
                        testing::Field(&CheckpointNews::line, line));
}

/// Also where nobody has asked for news between its end and the next save.
TEST_F(RunCheckpointsTest, EverySaveIsToldOnce) {
  RunCheckpoints checkpoints = make(1);
  save(checkpoints, 1, false);
  checkpoints.release(*stream_);
  save(checkpoints, 2, false);
  checkpoints.finish();
  save(checkpoints, 3, true);
  EXPECT_THAT(
      checkpoints.take_news(),
      ElementsAre(news(1, HasSubstr("step-00000001 (proof")), news(2, HasSubstr("step-00000002 (proof")),
                  news(3, testing::AllOf(HasSubstr("step-00000003 (proof"), HasSubstr("paused for")))));
  EXPECT_THAT(checkpoints.take_news(), IsEmpty());
  EXPECT_GT(checkpoints.take_seconds_stopped(), 0);
  EXPECT_EQ(checkpoints.take_seconds_stopped(), 0);
}

/// Also where it becomes known in the next save alone, which waits for it.
TEST_F(RunCheckpointsTest, AFailedSaveStopsTheRunWhereThePolicySaysSo) {
  RunCheckpoints stops = make_failing(SaveFailurePolicy::stop);
  save(stops, 1, false);
  save(stops, 2, false);
  EXPECT_THAT(stops.failure(), HasSubstr("the checkpoint of step 1 was not saved"));
  save(stops, 3, true);  // the last one is tried
  EXPECT_THAT(stops.failure(), HasSubstr("the checkpoint of step 3 was not saved"));
  RunCheckpoints goes_on = make_failing(SaveFailurePolicy::warn);
  save(goes_on, 1, false);
  save(goes_on, 2, false);
  goes_on.finish();
  EXPECT_THAT(goes_on.take_news(),
              ElementsAre(news(-1, HasSubstr("of step 1 was not saved")), news(-1, HasSubstr("of step 2"))));
}

TEST_F(RunCheckpointsTest, OneThatMeetsAnotherIsSkippedWhereThePolicySaysSo) {
  for (const SaveOverlap overlap : {SaveOverlap::skip, SaveOverlap::wait}) {
    const bool skips = overlap == SaveOverlap::skip;
    RunCheckpoints checkpoints = make(2, overlap);
    hold_up(true);
    save(checkpoints, 2, false);
    EXPECT_EQ(checkpoints.requests(), (RunCheckpoints::Requests{0, 1, 0}));
    checkpoints.agree({1, 1, 0});
    EXPECT_FALSE(checkpoints.is_due(3)) << "by the clock none is while another is in flight";
    EXPECT_FALSE(checkpoints.is_skipped(3));
    EXPECT_EQ(checkpoints.is_due(4), !skips);
    EXPECT_EQ(checkpoints.is_skipped(4), skips);
    if (skips) checkpoints.skip(4);
    EXPECT_EQ(checkpoints.num_skipped(), skips ? 1 : 0);
    if (skips) {
      EXPECT_THAT(checkpoints.take_news(),
                  ElementsAre(news(4,
                                   "no checkpoint of step 4: that of step 2 is still being written "
                                   "(--checkpoint.overlap skip)")));
    }
    hold_up(false);
    checkpoints.finish();
    EXPECT_TRUE(checkpoints.is_due(4)) << "nothing is in flight";
    checkpoints.agree({0, 0, 0});
    EXPECT_TRUE(checkpoints.is_due(6));
  }
}

TEST_F(RunCheckpointsTest, TheBestStaysAlsoBehindAResume) {
  RunCheckpoints first = make_keeping_the_best();
  EXPECT_FALSE(first.is_new_best(1, NAN));
  EXPECT_TRUE(first.is_new_best(1, 2.0));
  save(first, 1, true);
  EXPECT_FALSE(first.is_new_best(2, 2.0)) << "as good is not better";
  for (const int64_t step : {2, 3}) save(first, step, true);
  EXPECT_TRUE(is_there(1) && !is_there(2) && is_there(3));

  RunCheckpoints resumed = make_keeping_the_best();
  const std::string path = resumed.directory() + "/" + checkpoint_name(3);
  resumed.continue_from(path, read_manifest(path).state);
  EXPECT_FALSE(resumed.is_new_best(4, 2.5));
  save(resumed, 4, true);
  EXPECT_TRUE(is_there(1) && !is_there(3) && is_there(4));
  EXPECT_TRUE(resumed.is_new_best(5, 1.5));
  for (const int64_t step : {5, 6}) save(resumed, step, true);
  EXPECT_TRUE(!is_there(1) && is_there(5) && is_there(6));
}

}  // namespace
}  // namespace trireme::launch
