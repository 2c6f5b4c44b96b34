#include "launch/serve/http/worker_pool.h"

#include <utility>

namespace trireme::launch {

WorkerPool::WorkerPool(int num_threads) {
  try {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {
    join();
    throw;
  }
}

WorkerPool::~WorkerPool() { join(); }

void WorkerPool::post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (is_over_) return;
    jobs_.push_back(std::move(job));
  }
  has_job_.notify_one();
}

void WorkerPool::join() {
  std::deque<std::function<void()>> dropped;  // what jobs own goes outside of the lock
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    dropped.swap(jobs_);
  }
  has_job_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void WorkerPool::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      has_job_.wait(lock, [&] { return is_over_ || !jobs_.empty(); });
      if (is_over_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace trireme::launch
