// Reads a slice file of a checkpoint, with its hashes checked.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "runtime/io/files/file.h"

namespace trireme {

/// Sees the bytes of a slice from number `begin` on; false: the rest is not wanted.
using SliceBytes = std::function<bool(int64_t begin, std::span<const std::byte> bytes)>;

class SliceFile {
 public:
  /// Pieces in which a slice is read; a multiple of every element's size.
  static constexpr int64_t kPieceBytes = int64_t{4} << 20;

  /// UserError (checkpoint) where the file cannot be opened. `stored` outlives it.
  SliceFile(const std::string& directory, const StoredFile& stored);

  /// UserError (checkpoint) naming the file where its head is not the one that was written.
  void check_head() const;
  /// Reads a slice once from its beginning to its end, in pieces of kPieceBytes (the last may be shorter)
  /// that `take` sees before it is known whether they are right. Then UserError (checkpoint) naming file and
  /// tensor where they are not, or cannot be read. Where `take` does not want the rest it returns at once,
  /// and nothing is known. Each piece is all of `buffer`, which `take` may move away.
  void read_slice(const StoredSlice& slice, std::vector<std::byte>& buffer, const SliceBytes& take) const;

 private:
  void read(int64_t begin, std::span<std::byte> to) const;

  std::string path_;
  const StoredFile& stored_;
  FileDescriptor file_;
};

}  // namespace trireme
