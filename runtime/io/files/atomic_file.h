// Files that appear whole or not at all: a reader, or a run started again, never sees half of one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/io/files/file.h"

namespace trireme {

/// Writes a temporary file beside `path`; commit() makes it durable and renames it. Without commit() the
/// destructor removes it and `path` stays as it was.
///
/// Errors name `path` and keep the kernel's words: a folder that is missing or closed to the user is a
/// UserError(usage); a full disk or a failing device is an EnvironmentError(resources).
class AtomicFileWriter {
 public:
  explicit AtomicFileWriter(std::string path);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  const std::string& path() const { return path_; }
  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  /// Overwrites bytes already written, e.g. a header whose counts are known at the end.
  void rewrite(int64_t offset, std::span<const std::byte> bytes);
  /// Flush, fsync, rename, fsync of the folder. Nothing may be written afterwards.
  void commit();

 private:
  void flush();
  void write_fully(std::span<const std::byte> bytes, int64_t offset);

  std::string path_, temporary_;
  FileDescriptor file_;
  std::string buffer_;
  int64_t flushed_ = 0;
};

/// AtomicFileWriter for contents that are at hand.
void write_file_atomically(const std::string& path, std::string_view contents);

}  // namespace trireme
