#include "runtime/io/files/atomic_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/error.h"

namespace trireme {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

[[noreturn]] void fail(const std::string& path, const char* action, int error) {
  const std::string message = fmt::format("cannot {} {}: {}", action, path, std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EACCES:
    case ENAMETOOLONG:
      throw UserError(ExitCode::usage, message);
    default:
      throw EnvironmentError(message);
  }
}

// rename() would put a plain file where a device, a pipe or a folder was.
void check_target(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw_usage("cannot write {}: it exists and is not a regular file", path);
  }
}

void sync_folder(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? std::string(".") : parent.string();
  const FileDescriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a folder (EINVAL); the file itself is safe by now.
  if (directory.get() >= 0 && ::fsync(directory.get()) != 0 && errno != EINVAL) fail(folder, "sync", errno);
}

}  // namespace

AtomicFileWriter::AtomicFileWriter(std::string path) : path_(std::move(path)) {
  check_target(path_);
  for (int attempt = 0; file_.get() < 0; ++attempt) {
    temporary_ = fmt::format("{}.tmp.{}.{}", path_, ::getpid(), attempt);
    file_ = FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file_.get() < 0 && errno != EEXIST) fail(path_, "write", errno);
  }
}

AtomicFileWriter::~AtomicFileWriter() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFileWriter::write(std::span<const std::byte> bytes) {
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (buffer_.size() >= kBufferBytes) flush();
}

void AtomicFileWriter::rewrite(int64_t offset, std::span<const std::byte> bytes) {
  flush();
  TRIREME_CHECK(offset >= 0 && offset + static_cast<int64_t>(bytes.size()) <= flushed_);
  write_fully(bytes, offset);
}

void AtomicFileWriter::commit() {
  flush();
  if (::fsync(file_.get()) != 0) fail(path_, "write", errno);
  if (file_.close() != 0) fail(path_, "write", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "write", errno);
  temporary_.clear();
  sync_folder(path_);
}

void AtomicFileWriter::flush() {
  write_fully(std::as_bytes(std::span(buffer_)), flushed_);
  flushed_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void AtomicFileWriter::write_fully(std::span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(file_.get(), bytes.data(), bytes.size(), offset);
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail(path_, "write", errno);
    }
    if (wrote == 0)
      throw_environment("cannot write {}: the system accepts no more bytes and gives no reason", path_);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
    offset += wrote;
  }
}

void write_file_atomically(const std::string& path, std::string_view contents) {
  AtomicFileWriter writer(path);
  writer.write(contents);
  writer.commit();
}

}  // namespace trireme
