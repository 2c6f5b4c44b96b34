// CheckpointSaver: saves asynchronously while training continues.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/device.h"
#include "runtime/device/stream.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// A thread that does one thing at a time.
class BackgroundJob {
 public:
  BackgroundJob() = default;
  /// Waits for what is in flight; its error is lost.
  ~BackgroundJob();
  BackgroundJob(const BackgroundJob&) = delete;
  BackgroundJob& operator=(const BackgroundJob&) = delete;

  /// Whether something is in flight.
  bool is_busy() const;
  /// Whether the last one threw, and nobody has heard of it yet.
  bool has_failed() const;
  /// Waits until nothing is, then begins. Throws what the one before threw, or std::system_error where the
  /// system has no thread left, and begins nothing.
  void start(std::function<void()> job);
  /// Waits until nothing is in flight. Throws what it threw, once.
  void wait();

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> job_;  // in flight where it is set
  std::exception_ptr error_;
  bool ends_ = false;
  std::thread thread_;  // from the first job on
};

/// Saves checkpoints of one run, one at a time. Beside the caller's work a thread copies the state to host
/// memory and hashes it, and another writes files and agrees with the other ranks, over a communicator of its
/// own. Before the caller changes the state it calls release().
class CheckpointSaver {
 public:
  /// `calls` outlives it. `ranks` is used by nothing else: Communicator::split makes one, which all ranks
  /// call. The state is on `device`.
  CheckpointSaver(FileCalls& calls, std::unique_ptr<Communicator> ranks, Device device = {});

  /// Whether a save is in flight on this rank. Ranks end at moments of their own: what they do by it they
  /// have to agree on.
  bool is_saving() const { return job_.is_busy() || hashing_.is_busy(); }
  /// Whether a save failed that save() or wait() is yet to throw; the ranks hear of it at moments of their
  /// own too.
  bool has_failed() const { return job_.has_failed(); }
  /// Begins a save, when the one before is done, of what `sources` are once `compute` has done what it was
  /// given so far. All ranks call it, with equal requests. Throws SaveFailed of the save before, on all
  /// ranks, and begins none. What a source throws ends this save on all ranks.
  void save(CommitRequest request, std::vector<SliceSource> sources, Stream& compute);
  /// Work given to `compute` from now on may change the sources (Snapshot::release). This rank alone; where
  /// nothing is copied it does nothing.
  void release(Stream& compute) { snapshot_.release(compute); }
  /// Waits for the save in flight; the sources may change then. Throws its SaveFailed, once.
  void wait();
  /// The last save that came to count; is_saving() must be false.
  const std::optional<Committed>& last() const { return last_; }

 private:
  FileCalls& calls_;
  std::unique_ptr<Communicator> ranks_;
  Snapshot snapshot_;
  std::optional<Committed> last_;
  BackgroundJob hashing_, job_;  // go first
};

}  // namespace trireme
