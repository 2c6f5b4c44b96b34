#include "runtime/io/files/durable_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <fcntl.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

[[noreturn]] void fail_call(const char* action, const std::string& path, int error) {
  const char* const name = ::strerrorname_np(error);
  throw_environment("cannot {} {}: {} ({})", action, path, std::strerror(error),
                    name != nullptr ? name : fmt::format("errno {}", error));
}

/// `call` again while signals interrupt it.
template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

std::vector<std::filesystem::directory_entry> entries_of(const std::string& path) {
  std::error_code error;
  std::vector<std::filesystem::directory_entry> entries;
  std::filesystem::directory_iterator it(path, error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error))
    entries.push_back(*it);
  if (error && error != std::errc::no_such_file_or_directory) fail_call("list", path, error.value());
  std::ranges::sort(entries);
  return entries;
}

}  // namespace

DurableFile::DurableFile(FileCalls& calls, std::string path) : calls_(calls), path_(std::move(path)) {
  fd_ = uninterrupted(
      [&] { return calls_.open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
  if (fd_ < 0) fail_call("create", path_, errno);
}

DurableFile::~DurableFile() {
  if (fd_ >= 0) calls_.close(fd_);
}

/// How many of these bytes may go past the page cache: a system wants memory, place and size in whole blocks.
size_t DurableFile::direct_prefix(std::span<const std::byte> bytes) const {
  constexpr size_t kLeast = size_t{64} << 10;  // a call of its own waits for the disk
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const bool is_aligned = address % kBlockBytes == 0 && static_cast<size_t>(size_) % kBlockBytes == 0;
  if (!can_be_direct_ || !is_aligned || bytes.size() < kLeast) return 0;
  return bytes.size() / kBlockBytes * kBlockBytes;
}

void DurableFile::set_direct(bool is_direct) {
  if (is_direct == is_direct_) return;
  const int flags = ::fcntl(fd_, F_GETFL);
  const bool is_set =
      flags >= 0 && ::fcntl(fd_, F_SETFL, is_direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
  if (is_set) is_direct_ = is_direct;
  if (!is_set && is_direct) can_be_direct_ = false;
}

void DurableFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t direct = direct_prefix(bytes);
    set_direct(direct > 0);
    const size_t size = is_direct_ ? direct : bytes.size();
    const ssize_t wrote = uninterrupted([&] { return calls_.pwrite(fd_, bytes.data(), size, size_); });
    if (wrote < 0 && errno == EINVAL && is_direct_) {
      can_be_direct_ = false;  // some file systems say so only now
      continue;
    }
    if (wrote < 0) fail_call("write", path_, errno);
    if (wrote == 0)
      throw_environment("cannot write {}: the system accepts no more bytes and gives no reason", path_);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
    size_ += wrote;
  }
}

void DurableFile::sync() {
  // Not again after an error: the kernel may have dropped the pages, and would report success.
  if (uninterrupted([&] { return calls_.fsync(fd_); }) != 0) fail_call("sync", path_, errno);
}

void DurableFile::close() {
  const int fd = std::exchange(fd_, -1);
  // EINTR: Linux has closed it.
  if (calls_.close(fd) != 0 && errno != EINTR) fail_call("close", path_, errno);
}

void make_directory(FileCalls& calls, const std::string& path) {
  if (calls.mkdir(path.c_str(), 0777) != 0) fail_call("make the directory", path, errno);
}

void sync_directory(FileCalls& calls, const std::string& path) {
  const int fd =
      uninterrupted([&] { return calls.open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (fd < 0) fail_call("open the directory", path, errno);
  const int error = uninterrupted([&] { return calls.fsync(fd); }) != 0 ? errno : 0;
  calls.close(fd);
  if (error != 0 && error != EINVAL) fail_call("sync the directory", path, error);
}

void rename_path(FileCalls& calls, const std::string& from, const std::string& to) {
  if (calls.rename(from.c_str(), to.c_str()) != 0) {
    const int error = errno;
    fail_call("rename", fmt::format("{} to {}", from, to), error);
  }
}

bool exchange_paths(FileCalls& calls, const std::string& a, const std::string& b) {
  if (calls.exchange(a.c_str(), b.c_str()) == 0) return true;
  const int error = errno;
  if (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP) return false;
  fail_call("exchange", fmt::format("{} and {}", a, b), error);
}

void remove_file(FileCalls& calls, const std::string& path) {
  if (calls.unlink(path.c_str()) != 0 && errno != ENOENT) fail_call("remove", path, errno);
}

void remove_directory(FileCalls& calls, const std::string& path) {
  for (const auto& entry : entries_of(path)) {
    if (entry.is_directory() && !entry.is_symlink()) {
      remove_directory(calls, entry.path().string());
    } else {
      remove_file(calls, entry.path().string());
    }
  }
  if (calls.rmdir(path.c_str()) != 0 && errno != ENOENT) fail_call("remove the directory", path, errno);
}

void replace_file(FileCalls& calls, const std::string& path, std::string_view contents) {
  const std::string beside = path + ".new";
  remove_file(calls, beside);  // of an attempt that died
  DurableFile file(calls, beside);
  file.write(contents);
  file.sync();
  file.close();
  rename_path(calls, beside, path);
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  sync_directory(calls, parent.empty() ? "." : parent.string());
}

}  // namespace trireme
