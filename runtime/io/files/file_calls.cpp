#include "runtime/io/files/file_calls.h"

#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trireme {

int FileCalls::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }

ssize_t FileCalls::pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return ::pwrite(fd, bytes, size, offset);
}

int FileCalls::fsync(int fd) { return ::fsync(fd); }

int FileCalls::close(int fd) { return ::close(fd); }

int FileCalls::mkdir(const char* path, mode_t mode) { return ::mkdir(path, mode); }

int FileCalls::rename(const char* from, const char* to) { return ::rename(from, to); }

int FileCalls::exchange(const char* a, const char* b) {
  return ::renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

int FileCalls::unlink(const char* path) { return ::unlink(path); }

int FileCalls::rmdir(const char* path) { return ::rmdir(path); }

}  // namespace trireme
