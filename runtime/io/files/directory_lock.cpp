#include "runtime/io/files/directory_lock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

// Whoever wants the directory holds the second byte while it tries to take the first and, having got it,
// writes who it is: so nobody reads of a holder before.
constexpr off_t kHolder = 0, kTurn = 1;

int lock_byte(int fd, off_t byte, short type, int command) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  int result = ::fcntl(fd, command, &lock);
  while (result != 0 && errno == EINTR) result = ::fcntl(fd, command, &lock);
  return result;
}

std::string this_process() {
  std::array<char, 256> host = {};
  if (::gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "unknown");
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  std::array<char, 32> time = {};
  ::gmtime_r(&now, &utc);
  std::strftime(time.data(), time.size(), "%Y-%m-%d %H:%M:%S UTC", &utc);
  return fmt::format("host {}, process {}, since {}", host.data(), ::getpid(), time.data());
}

std::string read_holder(int fd) {
  std::array<char, 512> text = {};
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  std::string holder(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  holder.resize(std::min(holder.find('\n'), holder.size()));
  return holder;
}

/// A call may take a part only. errno says why not all of it is there.
bool write_whole(int fd, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = ::pwrite(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written == 0) errno = ENOSPC;
    if (written <= 0) return false;
    at += static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

DirectoryLock::DirectoryLock(const std::string& directory) {
  const std::string path = directory + "/.lock";
  const auto fail = [&](const char* action) {
    throw_environment("cannot {} {}: {}", action, path, std::strerror(errno));
  };
  file_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  const int fd = file_.get();
  if (fd < 0) fail("open");
  if (lock_byte(fd, kTurn, F_WRLCK, F_OFD_SETLKW) != 0) fail("lock");
  if (lock_byte(fd, kHolder, F_WRLCK, F_OFD_SETLK) != 0) {
    if (errno != EAGAIN && errno != EACCES) fail("lock");
    throw_usage("{} is in use: {}; wait until that run has ended, or use another directory", directory,
                read_holder(fd));
  }
  const std::string holder = this_process() + "\n";
  if (::ftruncate(fd, 0) != 0 || !write_whole(fd, holder)) fail("write");
  if (lock_byte(fd, kTurn, F_UNLCK, F_OFD_SETLK) != 0) fail("unlock");
}

}  // namespace trireme
