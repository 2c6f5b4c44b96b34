#include "tests/support/cuda_on_host/stream.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cuda_on_host/graph.h"

namespace trireme::cuda_on_host {

struct Stream::Mark::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  uint64_t num_submitted = 0, num_done = 0;
  bool closed = false, has_thread = false;
  Stream::Part part;

  void wait_for(uint64_t number) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return num_done >= number; });
  }
  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return closed || !tasks.empty(); });
      if (tasks.empty()) return;
      const auto task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      task();
      lock.lock();
      ++num_done;
      changed.notify_all();
    }
  }
};

namespace {
thread_local std::vector<std::weak_ptr<Stream::Mark::State>> streams_of_thread;
}

bool Stream::Mark::is_done() const {
  if (!state_) return true;
  const std::lock_guard lock(state_->mutex);
  return state_->num_done >= number_;
}

void Stream::Mark::wait() const {
  if (state_) state_->wait_for(number_);
}

Stream::Stream() : state_(std::make_shared<Mark::State>()) { streams_of_thread.push_back(state_); }

Stream::~Stream() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->changed.notify_all();
}

void Stream::run(std::function<void()> work) {
  if (const Part p = part(); p.capture) return p.capture->put_down_run(p.stream, std::move(work));
  drain();
  work();
}

void Stream::submit(std::function<void()> task) {
  if (const Part p = part(); p.capture) return p.capture->put_down_submit(p.stream, std::move(task));
  do_submit(std::move(task));
}

void Stream::wait(const Mark& mark) {
  if (!mark.is_done()) do_submit([mark] { mark.wait(); });
}

Stream::Part Stream::part() const {
  const std::lock_guard lock(state_->mutex);
  return state_->part;
}

void Stream::take_part(const Part& part) {
  const std::lock_guard lock(state_->mutex);
  state_->part = part;
}

void Stream::do_submit(std::function<void()> task) {
  const std::lock_guard lock(state_->mutex);
  state_->tasks.push_back(std::move(task));
  ++state_->num_submitted;
  if (!std::exchange(state_->has_thread, true)) {
    std::thread([state = state_] { state->serve(); }).detach();
  }
  state_->changed.notify_all();
}

void Stream::drain() { mark().wait(); }

Stream::Mark Stream::mark() const {
  Mark mark;
  const std::lock_guard lock(state_->mutex);
  mark.state_ = state_;
  mark.number_ = state_->num_submitted;
  return mark;
}

void drain_streams_of_thread() {
  std::erase_if(streams_of_thread, [](const auto& stream) { return stream.expired(); });
  for (const auto& stream : streams_of_thread) {
    if (const auto state = stream.lock()) {
      std::unique_lock lock(state->mutex);
      const uint64_t number = state->num_submitted;
      lock.unlock();
      state->wait_for(number);
    }
  }
}

}  // namespace trireme::cuda_on_host
