#include "parallel/checkpoint/save/checkpoint_saver.h"

#include <utility>

#include "parallel/checkpoint/vote.h"
#include "runtime/base/error.h"

namespace trireme {

BackgroundJob::~BackgroundJob() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !job_; });
    ends_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool BackgroundJob::is_busy() const {
  const std::lock_guard lock(mutex_);
  return static_cast<bool>(job_);
}

bool BackgroundJob::has_failed() const {
  const std::lock_guard lock(mutex_);
  return error_ != nullptr;
}

void BackgroundJob::start(std::function<void()> job) {
  wait();
  // Before there is a job: where the system has no thread left nothing is in flight.
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  {
    const std::lock_guard lock(mutex_);
    job_ = std::move(job);
  }
  changed_.notify_all();
}

void BackgroundJob::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !job_; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void BackgroundJob::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return job_ || ends_; });
    if (!job_) return;
    lock.unlock();
    std::exception_ptr error;
    try {
      job_();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    job_ = nullptr;
    changed_.notify_all();
  }
}

CheckpointSaver::CheckpointSaver(FileCalls& calls, std::unique_ptr<Communicator> ranks, Device device)
    : calls_(calls), ranks_(std::move(ranks)), snapshot_(device) {}

void CheckpointSaver::wait() {
  hashing_.wait();
  job_.wait();
}

void CheckpointSaver::save(CommitRequest request, std::vector<SliceSource> sources, Stream& compute) {
  wait();
  // What fails here fails on this rank alone: the others hear of it in the commit.
  const std::string failure = failure_of([&] {
    snapshot_.begin(ranks_->rank(), std::move(sources), compute);
    hashing_.start([this] { snapshot_.hash(); });
  });
  job_.start([this, request = std::move(request), failure] {
    last_ = commit_checkpoint(calls_, *ranks_, request, [&](const std::string& directory) {
      if (!failure.empty()) throw EnvironmentError(failure);
      return snapshot_.write(calls_, directory);
    });
  });
}

}  // namespace trireme
