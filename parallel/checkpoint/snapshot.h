// Snapshot: a consistent copy of a rank's slices on the host, hashed while it is made.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"
#include "parallel/checkpoint/format/proof_hash.h"
#include "parallel/checkpoint/planned_file.h"
#include "parallel/checkpoint/slice_source.h"
#include "runtime/device/allocator.h"
#include "runtime/device/stream.h"
#include "runtime/io/digest/xxh3.h"
#include "runtime/io/files/file_calls.h"

namespace trireme {

/// What one rank has written of a checkpoint.
struct WrittenPart {
  StoredFiles stored;
  ProofHash proof;  ///< of its slices
};

/// Copies, hashes and writes at the same time, each in a thread of its own: hash() and write() run beside
/// each other and beside the caller's work, who calls release() before the sources change. On a GPU the
/// copies go to pinned memory on a stream of their own. Memory of the host is used again and again: a save
/// takes no more of it than the largest one before.
class Snapshot {
 public:
  /// Of sources on `device`.
  explicit Snapshot(Device device = {});

  /// Begins one, in place of the one before, whose hash() and write() have returned. It is of what the
  /// sources are when `compute` has done what it was given so far. `rank` is the world rank.
  void begin(int rank, std::vector<SliceSource> sources, Stream& compute);
  /// Copies what is not copied yet, and hashes. What a source, or hashing, throws write() throws.
  void hash();
  /// Work that is given to `compute` from now on may change the sources. On the host it copies what is not
  /// copied yet and returns when all is; on a device `compute` waits, and the caller does not.
  void release(Stream& compute);
  /// Makes the files in `directory` and returns when the disk has them, though not their names, and hash() is
  /// through. Throws EnvironmentError.
  WrittenPart write(FileCalls& calls, const std::string& directory);

  /// begin() and hash(), at once.
  void take(int rank, std::vector<SliceSource> sources);
  int64_t bytes() const { return size_; }

 private:
  /// A part of a slice that is copied at once.
  struct Piece {
    size_t slice;
    int64_t begin;
    std::span<std::byte> to;
    bool is_copied = false;
  };
  /// Copies that were given to the stream: of the pieces before number `end`.
  struct Submitted {
    size_t end;
    std::shared_ptr<Event> done;
  };

  bool is_on_host() const { return copies_->device().type == DeviceType::cpu; }
  void reserve(int64_t bytes);
  void lay_out(int rank);
  void cut_into_pieces();
  void submit(Stream& compute);
  void note_failure(std::string words);
  bool claim(size_t piece);
  void copy(size_t piece);
  void obtain(size_t piece, size_t& submitted);
  void hash_piece(size_t piece, size_t& submitted, Xxh3Stream& stream, ProofHash& proof);
  void hash_pieces();
  void note_copied(size_t piece);
  bool has_copied(size_t count);
  void wait_for(size_t piece);
  void wait_for_bytes(const std::byte* end);

  std::unique_ptr<MemorySource> source_;
  std::unique_ptr<Stream> copies_;
  std::unique_ptr<std::byte, std::function<void(std::byte*)>> memory_;
  int64_t capacity_ = 0, size_ = 0;
  std::vector<SliceSource> sources_;
  std::vector<PlannedFile> files_;
  std::vector<std::span<std::byte>> images_;  // of each file, all of it
  WrittenPart part_;
  std::vector<Piece> pieces_;  // by address
  std::vector<Submitted> submitted_;
  bool is_released_ = true;

  std::mutex mutex_;  // of what follows, and of Piece::is_copied
  std::condition_variable changed_;
  size_t claimed_ = 0, copied_ = 0;  // pieces that somebody copies; that are there, with all before them
  size_t awaited_ = 0;               // how many the first to be woken waits for
  bool is_hashed_ = false;
  std::string failure_;
};

}  // namespace trireme
