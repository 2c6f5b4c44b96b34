// Recorder: what a rank is doing, and the last calls of each of its communicators.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/comm/record/call_ring.h"
#include "runtime/comm/record/call_site.h"

namespace trireme {

/// One a rank, which its communicators share (Communicator::set_recorder). The thread that computes says
/// where it is; every reader may be any thread at any time, also while the rank is stuck, and holds nobody
/// up.
class Recorder {
 public:
  /// Records to keep of each communicator: 1 to 32768, 96 bytes each.
  static constexpr int64_t kDefaultLength = 256;
  explicit Recorder(int64_t length = kDefaultLength) : length_(length) {}
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Of the thread that computes. Each is progress.
  /// A phase begins; it has no micro-batch and no layer at first.
  void enter(Phase phase) { enter({phase, step_.load(kRelaxed), -1, -1}); }
  void enter(const CallSite& site);
  void set_step(int64_t step) { set(step_, step); }
  void set_micro_batch(int32_t micro_batch) { set(micro_batch_, micro_batch); }
  void set_layer(int32_t layer) { set(layer_, layer); }
  /// Tells `observer` of each of these calls from now on, until it ignores them.
  void observe_sites(SiteObserver& observer) { observers_.push_back(&observer); }
  void ignore_sites(SiteObserver& observer) { std::erase(observers_, &observer); }

  CallSite site() const {
    return {phase_.load(kRelaxed), step_.load(kRelaxed), micro_batch_.load(kRelaxed), layer_.load(kRelaxed)};
  }
  /// Calls that have ended, and phases, steps, micro-batches and layers that the rank has come to: changes
  /// while it gets on.
  int64_t progress() const { return num_entered_.load(kRelaxed) + num_done_->load(kRelaxed); }
  /// When the phase was entered last, by steady_ns().
  int64_t phase_since_ns() const { return phase_since_.load(kRelaxed); }
  /// Of all communicators that there are, in the order in which they were made.
  std::vector<CommHistory> history() const;
  std::vector<std::shared_ptr<CallRing>> rings() const;

  /// A ring for a communicator. The recorder forgets it when nobody else has it.
  std::shared_ptr<CallRing> make_ring(RecordedGroup group);

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  template <class T>
  void set(std::atomic<T>& place, T value) {
    place.store(value, kRelaxed);
    note_entered();
  }
  void note_entered() {
    num_entered_.store(num_entered_.load(kRelaxed) + 1, kRelaxed);
    for (SiteObserver* observer : observers_) observer->entered(site());
  }

  const int64_t length_;
  std::atomic<Phase> phase_ = Phase::setup;
  std::atomic<int64_t> step_ = -1;
  std::atomic<int32_t> micro_batch_ = -1, layer_ = -1;
  std::atomic<int64_t> phase_since_ = steady_ns();
  std::atomic<int64_t> num_entered_ = 0;
  std::vector<SiteObserver*> observers_;  // of the thread that computes alone
  std::shared_ptr<CallRing::Counter> num_done_ = std::make_shared<CallRing::Counter>(0);
  mutable std::mutex mutex_;  // of the list: held while it is copied, or changed
  std::vector<std::weak_ptr<CallRing>> rings_;
};

/// Enters a phase, and returns to where the rank was; a null recorder is none.
class ScopedPhase {
 public:
  ScopedPhase(Recorder* recorder, Phase phase) : recorder_(recorder) {
    if (recorder_ == nullptr) return;
    before_ = recorder_->site();
    recorder_->enter(phase);
  }
  ScopedPhase(Recorder* recorder, const CallSite& site) : recorder_(recorder) {
    if (recorder_ == nullptr) return;
    before_ = recorder_->site();
    recorder_->enter(site);
  }
  /// The step stays what it has become meanwhile.
  ~ScopedPhase() {
    if (recorder_ == nullptr) return;
    before_.step = recorder_->site().step;
    recorder_->enter(before_);
  }
  ScopedPhase(const ScopedPhase&) = delete;
  ScopedPhase& operator=(const ScopedPhase&) = delete;

 private:
  Recorder* recorder_;
  CallSite before_;
};

}  // namespace trireme
