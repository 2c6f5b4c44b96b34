// System calls of files that fail when a test says so, and that remember what a power cut would leave.
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/io/files/file_calls.h"

namespace trireme::test {

/// What happens instead of call number `at` (from 0).
struct PlannedFault {
  enum class Kind { none, error, short_write, zero_write };
  Kind kind = Kind::none;
  int64_t at = 0;
  int error = ENOSPC;
};

/// Passes calls on to the kernel, counts them, and makes one of them fail.
class FaultyCalls final : public FileCalls {
 public:
  explicit FaultyCalls(const PlannedFault& fault = {}) : fault_(fault) {}

  int64_t num_calls() const { return num_calls_; }
  bool has_failed() const { return has_failed_; }
  /// The name of the call that failed.
  const std::string& failed_call() const { return failed_call_; }
  /// The names of the calls so far.
  const std::vector<std::string>& calls() const { return calls_; }

  int open(const char* path, int flags, mode_t mode) override;
  ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) override;
  int fsync(int fd) override;
  int close(int fd) override;
  int mkdir(const char* path, mode_t mode) override;
  int rename(const char* from, const char* to) override;
  int exchange(const char* a, const char* b) override;
  int unlink(const char* path) override;
  int rmdir(const char* path) override;

 private:
  bool fails(const char* name);

  PlannedFault fault_;
  int64_t num_calls_ = 0;
  bool has_failed_ = false;
  std::string failed_call_;
  std::vector<std::string> calls_;
};

/// Keeps what it is asked to do, in order, by whatever thread, and passes it on.
class RecordedCalls final : public FileCalls {
 public:
  enum class Kind {
    create,
    write,
    sync_file,
    sync_directory,
    make_directory,
    rename,
    exchange,
    unlink,
    rmdir
  };
  struct Call {
    Kind kind;
    std::string path, other;  ///< other: target of a rename, the second of an exchange
    int64_t offset = 0;
    std::string bytes;
  };

  std::vector<Call> calls() const;

  int open(const char* path, int flags, mode_t mode) override;
  ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) override;
  int fsync(int fd) override;
  int close(int fd) override;
  int mkdir(const char* path, mode_t mode) override;
  int rename(const char* from, const char* to) override;
  int exchange(const char* a, const char* b) override;
  int unlink(const char* path) override;
  int rmdir(const char* path) override;

 private:
  void note(Call call);

  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::map<int, std::string> open_;  // path of each descriptor
  std::set<int> directories_;
};

}  // namespace trireme::test
