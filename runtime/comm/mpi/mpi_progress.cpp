#include "runtime/comm/mpi/mpi_progress.h"

#include <chrono>

namespace trireme {

MpiProgress::~MpiProgress() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MpiProgress::begin() {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
  if (num_messages_++ == 0) changed_.notify_all();
}

void MpiProgress::end() {
  const std::lock_guard lock(mutex_);
  --num_messages_;
}

void MpiProgress::serve() {
  constexpr auto kPause = std::chrono::microseconds(100);
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (num_messages_ == 0) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    // Looks for a message that nobody sends; what it is called for is that MPI runs. Its errors belong to the
    // operations in flight, and come out of those.
    int found = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, tag_, comm_, &found, MPI_STATUS_IGNORE);
    lock.lock();
    changed_.wait_for(lock, kPause, [this] { return stopped_; });
  }
}

}  // namespace trireme
