// Reads slices of a checkpoint ahead of whoever passes them on.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"

namespace trireme {

/// A thread that reads slices one after the other, each once, and checks their hashes, while another one
/// passes pieces on, copies them or waits for other ranks. It is kMostAhead pieces ahead at the most.
class SliceReader {
 public:
  static constexpr size_t kMostAhead = 8;

  /// `slices` are numbers of `stored`, which outlives it. No two of them need lie in one file.
  SliceReader(std::string directory, const StoredFiles& stored, std::vector<size_t> slices);
  /// Ends it, wherever it is.
  ~SliceReader();
  SliceReader(const SliceReader&) = delete;
  SliceReader& operator=(const SliceReader&) = delete;

  /// The next piece of the slices, in their order: SliceFile::kPieceBytes, the last of a slice may be
  /// shorter. Waits for it. What cannot be read is zeros, as many as it should be.
  std::vector<std::byte> next();
  /// Memory of a piece, for a later one.
  void give_back(std::vector<std::byte> piece);
  /// What was wrong first, naming file and tensor; empty: nothing. Waits until all is read: all pieces were
  /// taken.
  std::string failure();

 private:
  void run();
  void read(const StoredSlice& slice);
  bool put(std::vector<std::byte>& piece);

  const std::string directory_;
  const StoredFiles& stored_;
  const std::vector<size_t> slices_;
  std::vector<bool> is_checked_;  // the head of each file
  std::vector<std::byte> buffer_;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<std::vector<std::byte>> pieces_;
  std::vector<std::vector<std::byte>> spare_;
  std::string failure_;
  bool is_done_ = false, ends_ = false;
  std::thread thread_;  // goes first
};

}  // namespace trireme
