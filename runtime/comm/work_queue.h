// The order of a communicator's collectives on the CPU.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Runs tasks one after the other, on a thread of its own that starts with the first asynchronous task. push
/// and run are called by one thread at a time. A task that throws does not stop those after it.
class WorkQueue {
 public:
  WorkQueue();
  /// Returns when all that was pushed has run.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  /// Queues `task`; its exception comes out of Work::wait().
  WorkPtr push(std::function<void()> task);
  /// Runs `task` after all that was pushed, on the calling thread when nothing is pending, and returns when
  /// it is done.
  void run(std::function<void()> task);
  /// True while a pushed task is queued or in flight.
  bool pending() const;
  /// Drops the tasks not yet begun (waiting for them throws) and lets go of the one in flight without waiting
  /// for it: for a process about to be ended. Tasks must own what they use.
  void detach();

 private:
  class QueuedWork;
  struct State;
  static void serve(const std::shared_ptr<State>& state);
  void close();

  std::shared_ptr<State> state_;
  std::thread worker_;
};

}  // namespace trireme
