#include "tests/support/recorded_calls.h"

#include <utility>

#include <fcntl.h>

namespace trireme::test {

namespace {

/// What is written before a fault: a half, in whole blocks where it is that large, as direct writes want it.
size_t half_of(size_t size) {
  constexpr size_t kBlock = 4096;
  return size < 2 * kBlock ? size / 2 : size / 2 / kBlock * kBlock;
}

}  // namespace

bool FaultyCalls::fails(const char* name) {
  calls_.emplace_back(name);
  if (fault_.kind == PlannedFault::Kind::none || num_calls_++ != fault_.at) return false;
  has_failed_ = true;
  failed_call_ = name;
  errno = fault_.error;
  return true;
}

int FaultyCalls::open(const char* path, int flags, mode_t mode) {
  return fails("open") ? -1 : FileCalls::open(path, flags, mode);
}

ssize_t FaultyCalls::pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (!fails("pwrite")) return FileCalls::pwrite(fd, bytes, size, offset);
  if (fault_.kind == PlannedFault::Kind::zero_write) return 0;
  if (fault_.kind == PlannedFault::Kind::short_write && size > 1)
    return FileCalls::pwrite(fd, bytes, half_of(size), offset);
  // An error comes after part of it has been written.
  if (FileCalls::pwrite(fd, bytes, half_of(size), offset) < 0) return -1;
  errno = fault_.error;
  return -1;
}

int FaultyCalls::fsync(int fd) { return fails("fsync") ? -1 : FileCalls::fsync(fd); }

int FaultyCalls::close(int fd) {
  // The kernel closes it all the same.
  const bool is_wrong = fails("close");
  const int result = FileCalls::close(fd);
  if (!is_wrong) return result;
  errno = fault_.error;
  return -1;
}

int FaultyCalls::mkdir(const char* path, mode_t mode) {
  return fails("mkdir") ? -1 : FileCalls::mkdir(path, mode);
}
int FaultyCalls::rename(const char* from, const char* to) {
  return fails("rename") ? -1 : FileCalls::rename(from, to);
}
int FaultyCalls::exchange(const char* a, const char* b) {
  return fails("exchange") ? -1 : FileCalls::exchange(a, b);
}
int FaultyCalls::unlink(const char* path) { return fails("unlink") ? -1 : FileCalls::unlink(path); }
int FaultyCalls::rmdir(const char* path) { return fails("rmdir") ? -1 : FileCalls::rmdir(path); }

std::vector<RecordedCalls::Call> RecordedCalls::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

void RecordedCalls::note(Call call) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
}

int RecordedCalls::open(const char* path, int flags, mode_t mode) {
  const int fd = FileCalls::open(path, flags, mode);
  if (fd < 0) return fd;
  const std::lock_guard lock(mutex_);
  open_[fd] = path;
  if ((flags & O_DIRECTORY) != 0) directories_.insert(fd);
  if ((flags & O_CREAT) != 0) calls_.push_back({Kind::create, path, {}, 0, {}});
  return fd;
}

ssize_t RecordedCalls::pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const ssize_t wrote = FileCalls::pwrite(fd, bytes, size, offset);
  if (wrote <= 0) return wrote;
  const std::lock_guard lock(mutex_);
  calls_.push_back({Kind::write,
                    open_.at(fd),
                    {},
                    offset,
                    std::string(static_cast<const char*>(bytes), static_cast<size_t>(wrote))});
  return wrote;
}

int RecordedCalls::fsync(int fd) {
  const int result = FileCalls::fsync(fd);
  if (result != 0) return result;
  const std::lock_guard lock(mutex_);
  const bool is_directory = directories_.contains(fd);
  calls_.push_back({is_directory ? Kind::sync_directory : Kind::sync_file, open_.at(fd), {}, 0, {}});
  return result;
}

int RecordedCalls::close(int fd) {
  {
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
    directories_.erase(fd);
  }
  return FileCalls::close(fd);
}

int RecordedCalls::mkdir(const char* path, mode_t mode) {
  const int result = FileCalls::mkdir(path, mode);
  if (result == 0) note({Kind::make_directory, path, {}, 0, {}});
  return result;
}

int RecordedCalls::rename(const char* from, const char* to) {
  const int result = FileCalls::rename(from, to);
  if (result == 0) note({Kind::rename, from, to, 0, {}});
  return result;
}

int RecordedCalls::exchange(const char* a, const char* b) {
  const int result = FileCalls::exchange(a, b);
  if (result == 0) note({Kind::exchange, a, b, 0, {}});
  return result;
}

int RecordedCalls::unlink(const char* path) {
  const int result = FileCalls::unlink(path);
  if (result == 0) note({Kind::unlink, path, {}, 0, {}});
  return result;
}

int RecordedCalls::rmdir(const char* path) {
  const int result = FileCalls::rmdir(path);
  if (result == 0) note({Kind::rmdir, path, {}, 0, {}});
  return result;
}

}  // namespace trireme::test
