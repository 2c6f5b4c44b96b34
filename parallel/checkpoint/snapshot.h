// Snapshot: a consistent copy of a rank's slices on the host, hashed while it is made.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/format/proof_hash.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// A slice that this rank writes, and how its bytes come to the host.
struct SliceSource {
  Slice slice;
  /// Copies the bytes from number `begin` of its packed elements on, as many as `to` has.
  std::function<void(int64_t begin, std::span<std::byte> to)> copy;
};

/// Of the slices as they are now, as this rank's part: what a save would count.
ProofHash proof_of(std::span<const SliceSource> sources);

/// One file of a rank.
struct PlannedFile {
  std::string name;
  std::vector<size_t> slices;  ///< numbers of those it holds, in their order in the file
  std::string head;
};

/// The files of world rank `rank` for these slices. A file has at most one slice of a tensor (PyTorch's
/// reader knows them by the tensor's name): the second ones go into a file of their own, and so on. Without
/// slices no file.
std::vector<PlannedFile> plan_files(int rank, const std::vector<Slice>& slices);

/// Host memory that is used again and again: a save takes no more of it than the largest one before.
class Snapshot {
 public:
  /// Copies and hashes; what was there before is gone. `rank` is the world rank.
  void take(int rank, std::span<const SliceSource> sources);
  /// Of the slices, as this rank's part.
  const ProofHash& proof() const { return proof_; }
  int64_t bytes() const { return size_; }
  /// Makes the files in `directory` and returns when the disk has them, though not their names.
  StoredFiles write(FileCalls& calls, const std::string& directory) const;

 private:
  std::unique_ptr<std::byte[]> memory_;
  int64_t capacity_ = 0, size_ = 0;
  std::vector<PlannedFile> files_;
  StoredFiles stored_;
  std::vector<int64_t> place_;  // of each file's first slice in memory
  ProofHash proof_;
};

}  // namespace trireme
