#include "runtime/device/stopwatch.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/device/context.h"

namespace trireme {
namespace {

void sleep_for(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

TEST(Stopwatch, AddsUpWhatItMeasuresAndNothingElse) {
  Context ctx;
  Stopwatch watch;
  EXPECT_EQ(watch.seconds(), 0);
  watch.measure(ctx.stream(), [] { sleep_for(3); });
  const double once = watch.seconds();
  EXPECT_GE(once, 3e-3);
  sleep_for(3);
  EXPECT_EQ(watch.seconds(), once);
  watch.measure(ctx.stream(), [] { sleep_for(4); });
  EXPECT_GE(watch.seconds(), once + 4e-3);
  watch.clear();
  EXPECT_EQ(watch.seconds(), 0);
}

// A stream of a device that does its work when it is told to.
class LateStream final : public Stream {
 public:
  class Mark final : public TimedEvent {
   public:
    Mark(LateStream& stream, double time) : stream_(stream), time_(time) {}
    void synchronize() override { stream_.done_ = std::max(stream_.done_, time_); }
    bool is_done() override { return time_ <= stream_.done_; }
    double milliseconds_since(const TimedEvent& earlier) const override {
      EXPECT_LE(time_, stream_.done_) << "asked for its time too early";
      return time_ - dynamic_cast<const Mark&>(earlier).time_;
    }

   private:
    LateStream& stream_;
    double time_;
  };

  double submitted_ = 0, done_ = 0;  // milliseconds of work

  Device device() const override { return {DeviceType::cuda, 0}; }
  std::shared_ptr<Event> record() override { return record_time(); }
  std::shared_ptr<TimedEvent> record_time() override { return std::make_shared<Mark>(*this, submitted_); }
  void wait(Event&) override {}
  void copy(void*, const void*, size_t) override {}
  void synchronize() override { done_ = submitted_; }
  std::unique_ptr<Graph> capture(const std::function<void()>&) override { return nullptr; }
};

TEST(Stopwatch, WaitsForADeviceOnlyWhenItIsAsked) {
  LateStream stream;
  Stopwatch watch;
  for (const double ms : {10, 20, 30}) {
    watch.measure(stream, [&] { stream.submitted_ += ms; });
    stream.submitted_ += 1000;  // not measured
    EXPECT_EQ(stream.done_, 0);
  }
  EXPECT_DOUBLE_EQ(watch.seconds(), 0.06);
  EXPECT_EQ(stream.done_, 2060) << "as far as was measured, no further";
  watch.measure(stream, [&] { stream.submitted_ += 5; });
  EXPECT_DOUBLE_EQ(watch.seconds(), 0.065);
}

}  // namespace
}  // namespace trireme
