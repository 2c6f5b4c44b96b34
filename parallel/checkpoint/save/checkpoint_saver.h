// CheckpointSaver: saves asynchronously while training continues.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "runtime/comm/communicator.h"
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
  /// Waits until nothing is, then begins. Throws what the one before threw, and begins nothing.
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

/// Saves checkpoints of one run, one at a time. The state is copied to host memory and hashed while the
/// caller waits; files are written, and the ranks agree, in a thread of its own over a communicator of its
/// own.
class CheckpointSaver {
 public:
  /// `calls` outlives it. `ranks` is used by nothing else: Communicator::split makes one, which all ranks
  /// call.
  CheckpointSaver(FileCalls& calls, std::unique_ptr<Communicator> ranks);

  /// Whether a save is in flight on this rank. Ranks end at moments of their own: what they do by it they
  /// have to agree on.
  bool is_saving() const { return job_.is_busy(); }
  /// Whether a save failed that save() or wait() is yet to throw; the ranks hear of it at moments of their
  /// own too.
  bool has_failed() const { return job_.has_failed(); }
  /// Begins a save of what `sources` are now, when the one before is done, and returns when they may change.
  /// All ranks call it, with equal requests (CommitRequest::proof is filled in). Throws SaveFailed of the
  /// save before, on all ranks, and begins none. What a source throws ends this save on all ranks.
  void save(CommitRequest request, std::span<const SliceSource> sources);
  /// Waits for the save in flight. Throws its SaveFailed, once.
  void wait() { job_.wait(); }
  /// The last save that came to count; is_saving() must be false.
  const std::optional<Committed>& last() const { return last_; }

 private:
  FileCalls& calls_;
  std::unique_ptr<Communicator> ranks_;
  Snapshot snapshot_;
  std::optional<Committed> last_;
  BackgroundJob job_;  // goes first
};

}  // namespace trireme
