// WorkerPool: a few threads for handlers.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace trireme::launch {

class WorkerPool {
 public:
  explicit WorkerPool(int num_threads);
  /// join().
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// From any thread. A job throws nothing. After join() it is dropped.
  void post(std::function<void()> job);
  /// Drops the jobs that wait, and returns once those that run have ended.
  void join();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable has_job_;
  std::deque<std::function<void()>> jobs_;
  bool is_over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace trireme::launch
