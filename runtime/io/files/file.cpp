#include "runtime/io/files/file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme {

int FileDescriptor::close() {
  const int fd = std::exchange(fd_, -1);
  return fd < 0 ? 0 : ::close(fd);
}

FileDescriptor open_for_reading(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw_bad_input("cannot open {}: {}", path, std::strerror(errno));
  return file;
}

int64_t regular_file_size(int fd, const std::string& path) {
  struct stat status;
  if (::fstat(fd, &status) != 0) throw_bad_input("cannot read {}: {}", path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) throw_bad_input("{} is a directory; a file is needed here", path);
  if (!S_ISREG(status.st_mode)) throw_bad_input("{} is not a regular file; copy its contents into one", path);
  return status.st_size;
}

std::string read_text_file(const std::string& path) {
  const FileDescriptor file = open_for_reading(path);
  std::string text;
  constexpr size_t kStep = size_t{1} << 16;
  for (;;) {
    const size_t have = text.size();
    text.resize(have + std::max(kStep, have));
    const ssize_t got = ::read(file.get(), text.data() + have, text.size() - have);
    text.resize(have + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return text;
    if (got < 0 && errno != EINTR) throw_bad_input("cannot read {}: {}", path, std::strerror(errno));
  }
}

}  // namespace trireme
