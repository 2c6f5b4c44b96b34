// Files and directories that are there after a power cut, once a call has returned.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/io/files/file_calls.h"

namespace trireme {

// All of these throw EnvironmentError (resources) "cannot ACTION PATH: the kernel's words (ENOSPC)" when a
// call fails. A call that a signal interrupts is made again; a short write continues where it ended.

/// A new file, written from its beginning to its end. It may be gone after a power cut until sync() has
/// returned, and its name until its directory was synced. Without close() the destructor closes it and says
/// nothing of errors.
///
/// Large pieces that lie in memory at a multiple of kBlockBytes, and go to one of the file, are written past
/// the page cache where the file system can do that (O_DIRECT): it takes the processor less, drops nobody
/// else's pages, and leaves little to sync.
class DurableFile {
 public:
  static constexpr size_t kBlockBytes = 4096;

  /// Fails where `path` exists.
  DurableFile(FileCalls& calls, std::string path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  /// Appends. Large pieces are best: every call is at least one of the kernel's.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Returns when the disk has all that was written.
  void sync();
  void close();

 private:
  size_t direct_prefix(std::span<const std::byte> bytes) const;
  void set_direct(bool is_direct);

  FileCalls& calls_;
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0;
  bool can_be_direct_ = true, is_direct_ = false;
};

/// Fails where it exists.
void make_directory(FileCalls& calls, const std::string& path);
/// Makes the names in a directory durable. File systems that cannot (EINVAL) are let pass.
void sync_directory(FileCalls& calls, const std::string& path);
/// Renames, without a sync.
void rename_path(FileCalls& calls, const std::string& from, const std::string& to);
/// Lets two paths change places. False where the file system cannot do that, and nothing was changed.
bool exchange_paths(FileCalls& calls, const std::string& a, const std::string& b);
/// A file; one that is not there is no error.
void remove_file(FileCalls& calls, const std::string& path);
/// A directory and the files and directories in it, which must not change meanwhile; one that is not there is
/// no error.
void remove_directory(FileCalls& calls, const std::string& path);

/// A file with these contents under `path`, in place of what was there: written beside it, synced, renamed,
/// its directory synced. What it leaves when a call fails is "PATH.new" at most.
void replace_file(FileCalls& calls, const std::string& path, std::string_view contents);

}  // namespace trireme
