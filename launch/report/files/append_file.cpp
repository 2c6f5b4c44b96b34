#include "launch/report/files/append_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme::launch {

AppendFile::AppendFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0)
    throw_environment("{}: cannot be opened for writing: {}", path_.string(), std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::write(std::string_view bytes) {
  const off_t size_before = ::lseek(descriptor_, 0, SEEK_END);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      std::string why = written == 0 ? "nothing was written" : std::strerror(errno);
      if (size_before >= 0 && ::ftruncate(descriptor_, size_before) != 0) why += "; a part of it stays";
      throw_environment("{}: cannot be written: {}", path_.string(), why);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace trireme::launch
