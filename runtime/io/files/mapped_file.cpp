#include "runtime/io/files/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/files/mapped_files.h"

namespace trireme {

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  const FileDescriptor file = open_for_reading(path_);
  const int64_t size = regular_file_size(file.get(), path_);
  if (size == 0) return;  // mmap refuses an empty range
  void* address = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) {
    throw_environment("cannot map {} ({} bytes) into memory: {}", path_, size, std::strerror(errno));
  }
  bytes_ = {static_cast<const std::byte*>(address), static_cast<size_t>(size)};
  noted_path_ = std::make_unique<const std::string>(path_);
  slot_ = note_mapping(address, bytes_.size(), noted_path_->c_str());
}

MappedFile::~MappedFile() { unmap(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      bytes_(std::exchange(other.bytes_, {})),
      noted_path_(std::move(other.noted_path_)),
      slot_(std::exchange(other.slot_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  path_ = std::move(other.path_);
  bytes_ = std::exchange(other.bytes_, {});
  noted_path_ = std::move(other.noted_path_);
  slot_ = std::exchange(other.slot_, -1);
  return *this;
}

void MappedFile::release_pages() const noexcept {
  if (!bytes_.empty()) ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

void MappedFile::unmap() noexcept {
  forget_mapping(std::exchange(slot_, -1));
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace trireme
