#include "runtime/comm/work_queue.h"

#include <exception>
#include <utility>

namespace trireme {

class WorkQueue::QueuedWork final : public Work {
 public:
  explicit QueuedWork(std::function<void()> task) : task_(std::move(task)) {}

  /// Runs the task and lets go of all it owns; returns what it threw.
  std::exception_ptr execute() noexcept {
    const auto task = std::exchange(task_, nullptr);
    try {
      task();
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  }

  void finish(std::exception_ptr error) noexcept {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    done_ = true;
    changed_.notify_all();
  }

  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
    if (error_) std::rethrow_exception(error_);
  }

  bool is_done() override {
    const std::lock_guard lock(mutex_);
    return done_;
  }

 private:
  std::function<void()> task_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::exception_ptr error_;
};

struct WorkQueue::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<QueuedWork>> tasks;
  bool busy = false;
  bool closed = false;
};

WorkQueue::WorkQueue() : state_(std::make_shared<State>()) {}

WorkQueue::~WorkQueue() {
  close();
  if (worker_.joinable()) worker_.join();
}

WorkPtr WorkQueue::push(std::function<void()> task) {
  auto work = std::make_shared<QueuedWork>(std::move(task));
  {
    const std::lock_guard lock(state_->mutex);
    TRIREME_CHECK(!state_->closed, "an operation on a communicator that is being destroyed");
    state_->tasks.push_back(work);
  }
  state_->changed.notify_all();
  if (!worker_.joinable()) worker_ = std::thread([state = state_] { serve(state); });
  return work;
}

void WorkQueue::run(std::function<void()> task) {
  if (pending()) {
    push(std::move(task))->wait();
  } else {
    task();
  }
}

bool WorkQueue::pending() const {
  const std::lock_guard lock(state_->mutex);
  return state_->busy || !state_->tasks.empty();
}

void WorkQueue::detach() {
  std::deque<std::shared_ptr<QueuedWork>> dropped;
  {
    const std::lock_guard lock(state_->mutex);
    dropped.swap(state_->tasks);
  }
  close();
  for (const auto& work : dropped) {
    work->finish(std::make_exception_ptr(
        EnvironmentError("the communicator was destroyed before the operation began")));
  }
  if (worker_.joinable()) worker_.detach();
}

void WorkQueue::close() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->closed = true;
  }
  state_->changed.notify_all();
}

void WorkQueue::serve(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&] { return state->closed || !state->tasks.empty(); });
    if (state->tasks.empty()) return;
    const auto work = std::move(state->tasks.front());
    state->tasks.pop_front();
    state->busy = true;
    lock.unlock();
    auto error = work->execute();
    lock.lock();
    // Before the waiter wakes: what it calls next may run on its own thread.
    state->busy = false;
    lock.unlock();
    work->finish(std::move(error));
    lock.lock();
  }
}

}  // namespace trireme
