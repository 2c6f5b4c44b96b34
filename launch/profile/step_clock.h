// StepClock: what a rank's compute stream does during the steps, and whom it waits for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "launch/profile/wait_series.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/device/context.h"

namespace trireme::launch {

/// At any time a rank does one of these.
enum class Activity : uint8_t {
  passes,      ///< forward and backward
  optimizer,   ///< norm, clipping, update
  data,        ///< waits for its batch
  checkpoint,  ///< stands still for a save
  other,       ///< of a step, or between steps
  excluded,    ///< no part of any step: an evaluation, a measurement
};
constexpr size_t kNumActivities = 6;

/// The messages between this rank and another in one direction, by steady_ns() of this host.
struct Messages {
  /// As many are looked at one by one; of the others the sum of the waits.
  static constexpr size_t kMost = 4096;
  struct Message {
    int64_t posted_ns = 0;
    int64_t wait_begin_ns = 0, wait_end_ns = 0;  ///< equal where nothing was waited for
  };
  std::vector<Message> first;
  double other_ms = 0;
};

/// What a rank has waited for in the calls of one communicator.
struct GroupWaits {
  WaitSeries collectives;
  std::map<int, Messages> sent, received;  ///< by peer
};

/// Of the steps that have ended since the last window.
struct WindowTimes {
  int64_t steps = 0;
  /// Waits for other ranks are none of passes, optimizer and other; what is waited for in the rest of the
  /// activities is a part of them.
  std::array<double, kNumActivities> ms{};
  double waited_ms = 0;
  std::map<int, GroupWaits> groups;  ///< by WaitedCall::communicator

  double of(Activity activity) const { return ms[static_cast<size_t>(activity)]; }
  /// All but what is excluded.
  double total_ms() const;
};

/// On the CPU times are the host's; on a device they are those of events on its compute stream, so that steps
/// may overlap. With CUDA graphs (`sees_inside` false) nothing within passes and update is seen, neither
/// waits nor where the passes end. One thread.
class StepClock final : public WaitObserver, public SiteObserver {
 public:
  /// Observes `world` and all that is split from it, and the phases of the context's recorder. All of these
  /// outlive it.
  StepClock(Context& ctx, Communicator& world, bool sees_inside);
  ~StepClock() override;
  StepClock(const StepClock&) = delete;
  StepClock& operator=(const StepClock&) = delete;

  /// A step begins, with its data; the one before has ended. From here on phases say what the rank does.
  void begin_step();
  /// From here on the rank does this, whatever the phases.
  void enter(Activity activity);
  /// From here on phases say it.
  void follow_phases() { follows_ = true; }
  /// What was submitted so far is all of the step.
  void end_step();

  /// Of all steps that have ended. Waits for the device to come to the end of the last.
  WindowTimes take();

  // Of its observers' interfaces.
  void entered(const CallSite& site) override;
  void post(Stream& stream, const WaitedCall& call) override;
  void begin_wait(Stream& stream, const WaitedCall& call) override;
  void end_wait(Stream& stream, const WaitedCall& call) override;

  Activity activity() const { return activity_; }
  bool follows_phases() const { return follows_; }

 private:
  struct Moment {
    int64_t ns = 0;
    std::shared_ptr<TimedEvent> event;  // on a device
  };
  enum class Kind : uint8_t { activity, post, begin_wait, end_wait };
  struct Entry {
    Kind kind;
    Activity activity;
    WaitedCall call;
    Moment moment;
  };
  using Step = std::vector<Entry>;
  class Reader;

  bool sees(Stream& stream) const;
  bool is_on_device() const { return ctx_.device().type != DeviceType::cpu; }
  Moment now();
  int64_t ns_of(const Moment& moment) const;
  void read_past();

  Context& ctx_;
  Communicator& world_;
  Recorder* const recorder_;
  const bool sees_inside_;
  Activity activity_ = Activity::other;
  bool follows_ = false, has_begun_ = false;
  int depth_ = 0;           // of calls that make calls
  std::deque<Step> ended_;  // each with the moment of its end; not yet in the window
  Step step_;               // begins with an activity
  WindowTimes window_;
  Moment last_end_;  // of a step in the window
  Moment anchor_;    // on a device: an event, and when it was
  std::unique_ptr<Reader> reader_;
};

/// A null clock is none.
class ScopedActivity {
 public:
  ScopedActivity(StepClock* clock, Activity activity) : clock_(clock) {
    if (clock_ == nullptr) return;
    before_ = clock_->activity();
    followed_ = clock_->follows_phases();
    clock_->enter(activity);
  }
  ~ScopedActivity() {
    if (clock_ == nullptr) return;
    clock_->enter(before_);
    if (followed_) clock_->follow_phases();
  }
  ScopedActivity(const ScopedActivity&) = delete;
  ScopedActivity& operator=(const ScopedActivity&) = delete;

 private:
  StepClock* clock_;
  Activity before_ = Activity::other;
  bool followed_ = false;
};

}  // namespace trireme::launch
