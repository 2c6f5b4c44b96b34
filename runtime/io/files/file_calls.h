// The system calls that change files: a seam, so that tests can make each of them fail and can rebuild what a
// power cut would leave.
#pragma once

#include <cstddef>

#include <sys/types.h>

namespace trireme {

/// Each call is the kernel's of that name, errno included. Safe to call from several threads.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  virtual int open(const char* path, int flags, mode_t mode);
  virtual ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset);
  virtual int fsync(int fd);
  virtual int close(int fd);
  virtual int mkdir(const char* path, mode_t mode);
  virtual int rename(const char* from, const char* to);
  /// renameat2 with RENAME_EXCHANGE: the two change places in one step. EINVAL or ENOSYS where the file
  /// system cannot.
  virtual int exchange(const char* a, const char* b);
  virtual int unlink(const char* path);
  virtual int rmdir(const char* path);
};

}  // namespace trireme
