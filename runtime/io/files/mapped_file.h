// A file seen through memory, for data larger than anyone wants to read at once.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace trireme {

/// A read-only memory map of a whole regular file. Several ranks of a host share its pages. The file must not
/// shrink while it is mapped: touching a page past the end ends the process, with a message that names the
/// file (mapped_files.h).
class MappedFile {
 public:
  /// UserError(bad_input) with the kernel's words when `path` is missing, unreadable, or not a regular file;
  /// EnvironmentError when the map itself fails. An empty file is an empty span.
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::string& path() const { return path_; }
  size_t size() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const { return bytes_; }
  /// Takes its pages from this process's memory; those that are read later come from the kernel's cache
  /// again.
  void release_pages() const noexcept;
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

 private:
  void unmap() noexcept;

  std::string path_;
  std::span<const std::byte> bytes_;
  std::unique_ptr<const std::string> noted_path_;  ///< stays in its place when this moves
  int slot_ = -1;                                  ///< of note_mapping
};

}  // namespace trireme
