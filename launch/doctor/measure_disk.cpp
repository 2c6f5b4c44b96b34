#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "launch/doctor/measure_host.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// A system call's result; throws with the system's words.
ssize_t done(ssize_t result, const char* call) {
  if (result < 0) throw_environment("{}: {}", call, std::strerror(errno));
  return result;
}

std::string type_of(const fs::path& folder) {
  struct statfs kind {};
  if (::statfs(folder.c_str(), &kind) != 0) return "unknown";
  switch (static_cast<unsigned long>(kind.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x6969:
      return "nfs";
    case 0x0BD00BD0:
      return "lustre";
    case 0x47504653:
      return "gpfs";
    case 0x19830326:
      return "beegfs";
    case 0x00C36400:
      return "ceph";
    case 0x65735546:
      return "fuse";
    case 0x794C7630:
      return "overlay";
    case 0x01021997:
      return "9p";
    case 0x2FC12FC1:
      return "zfs";
    default:
      return fmt::format("type {:x}", static_cast<unsigned long>(kind.f_type));
  }
}

/// A file that has no name any more once it is made: nothing stays behind, however this process ends.
FileDescriptor nameless_file(const fs::path& folder) {
  std::string name = (folder / ".trireme-doctor-XXXXXX").string();
  FileDescriptor file(static_cast<int>(done(::mkostemp(name.data(), O_CLOEXEC), "creating a file")));
  ::unlink(name.c_str());
  return file;
}

void try_rates(const FileDescriptor& file, int64_t bytes, DiskFacts& facts) {
  std::vector<char> block(size_t{1} << 20);
  for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<char>(i * 2654435761U >> 13);
  auto begin = Clock::now();
  for (int64_t at = 0; at < bytes;) {
    const auto n = static_cast<size_t>(std::min<int64_t>(bytes - at, static_cast<int64_t>(block.size())));
    at += done(::pwrite(file.get(), block.data(), n, at), "writing");
  }
  done(::fsync(file.get()), "fsync");
  facts.write_rate = static_cast<double>(bytes) / seconds_since(begin);
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  begin = Clock::now();
  for (int64_t at = 0; at < bytes;) {
    const ssize_t n = done(::pread(file.get(), block.data(), block.size(), at), "reading");
    if (n == 0) throw_environment("reading: the file is shorter than what was written");
    at += n;
  }
  facts.read_rate = static_cast<double>(bytes) / seconds_since(begin);
  facts.tried_bytes = bytes;
}

}  // namespace

DiskFacts measure_disk(const fs::path& folder, const std::string& purpose, int64_t bytes) {
  DiskFacts facts;
  facts.path = folder.string();
  facts.purpose = purpose;
  facts.type = type_of(folder);
  struct statvfs room {};
  if (::statvfs(folder.c_str(), &room) == 0)
    facts.free_bytes = static_cast<int64_t>(room.f_bavail * room.f_frsize);
  try {
    const FileDescriptor file = nameless_file(folder);
    if (facts.free_bytes > 2 * bytes) try_rates(file, bytes, facts);
  } catch (const Error& error) {
    facts.error = error.what();
  }
  return facts;
}

}  // namespace trireme::launch
