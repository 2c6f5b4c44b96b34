// Opening and reading whole files, with errors that name the path and keep the kernel's words.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace trireme {

/// Owns a POSIX file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() { close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) close(), fd_ = std::exchange(other.fd_, -1);
    return *this;
  }

  int get() const { return fd_; }
  /// Closes now; returns close's result (0 also when nothing was open).
  int close();

 private:
  int fd_;
};

/// UserError(bad_input) when `path` cannot be opened.
FileDescriptor open_for_reading(const std::string& path);

/// The size in bytes; UserError(bad_input) when `path` is a directory or another thing without a size.
int64_t regular_file_size(int fd, const std::string& path);

/// The whole file as bytes; reads pipes too. UserError(bad_input) when that fails.
std::string read_text_file(const std::string& path);

}  // namespace trireme
