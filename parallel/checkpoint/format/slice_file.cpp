#include "parallel/checkpoint/format/slice_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"

namespace trireme {

SliceFile::SliceFile(const std::string& directory, const StoredFile& stored)
    : path_(directory + "/" + stored.name),
      stored_(stored),
      file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (file_.get() < 0) throw_user(ExitCode::checkpoint, "cannot open {}: {}", path_, std::strerror(errno));
}

void SliceFile::read(int64_t begin, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = ::pread(file_.get(), to.data(), to.size(), begin);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw_user(ExitCode::checkpoint, "cannot read {} at byte {}: {}", path_, begin, std::strerror(errno));
    if (got == 0)
      throw_user(ExitCode::checkpoint, "{} ends at byte {}; the manifest says {}", path_, begin,
                 stored_.bytes);
    to = to.subspan(static_cast<size_t>(got));
    begin += got;
  }
}

void SliceFile::check_head() const {
  std::vector<std::byte> head(static_cast<size_t>(std::min(stored_.head_bytes, kPieceBytes)));
  Xxh3Stream stream;
  for (int64_t at = 0; at < stored_.head_bytes; at += kPieceBytes) {
    const auto part =
        std::span(head).first(static_cast<size_t>(std::min(kPieceBytes, stored_.head_bytes - at)));
    read(at, part);
    stream.update(part);
  }
  if (stream.digest() != stored_.head) {
    throw_user(ExitCode::checkpoint,
               "{} is damaged: its header of {} bytes has the XXH3-128 {}, the manifest says {}", path_,
               stored_.head_bytes, to_string(stream.digest()), to_string(stored_.head));
  }
}

void SliceFile::read_slice(const StoredSlice& slice, std::vector<std::byte>& buffer,
                           const SliceBytes& take) const {
  const int64_t bytes = slice.slice.bytes();
  Xxh3Stream stream;
  // The disk reads on while this hashes and the caller copies.
  constexpr int64_t kAheadBytes = 8 * kPieceBytes;
  ::posix_fadvise(file_.get(), slice.begin, std::min(bytes, kAheadBytes), POSIX_FADV_WILLNEED);
  for (int64_t at = 0; at < bytes; at += kPieceBytes) {
    if (const int64_t next = at + kAheadBytes; next < bytes)
      ::posix_fadvise(file_.get(), slice.begin + next, std::min(bytes - next, kPieceBytes),
                      POSIX_FADV_WILLNEED);
    buffer.resize(static_cast<size_t>(std::min(kPieceBytes, bytes - at)));
    const std::span<std::byte> piece(buffer);
    read(slice.begin + at, piece);
    stream.update(piece);
    if (!take(at, piece)) return;
  }
  if (stream.digest() != slice.hash) {
    throw_user(ExitCode::checkpoint, "{} is damaged: tensor {} has the XXH3-128 {}, the manifest says {}",
               path_, to_string(slice.slice), to_string(stream.digest()), to_string(slice.hash));
  }
}

}  // namespace trireme
