// Which keys of a ring's ranks others look at, where a window, a pattern or first keys limit what queries
// see: the same on every rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/ops/attention/attention.h"

namespace trireme::ring {

/// Keys of a rank that another rank looks at: rows of what it holds of a sequence.
struct Piece {
  int64_t sequence;
  Part rows;
  int64_t at;  ///< its first row where the pieces of these keys lie one after the other
};

/// Queries of a chunk that see something of a piece.
struct Visit {
  SeenKeys seen;
  int64_t sequence;
  size_t piece = 0;
};

/// What a rank looks at of another one's keys, or of its own.
struct VisibleKeys {
  std::vector<Piece> pieces;
  std::vector<Visit> visits;

  void add(int64_t sequence, const SeenKeys& seen) { visits.push_back({seen, sequence}); }
  /// Makes the pieces once all visits are there: each row once, however many look at it.
  void make_pieces();
  /// Of all pieces.
  int64_t rows() const { return pieces.empty() ? 0 : pieces.back().at + pieces.back().rows.size(); }
};

class KeyVisibility {
 public:
  /// `shape` and `chunk_first_keys` (as of ring_attention) outlive it.
  KeyVisibility(const ContextShare& share, const ops::AttentionShape& shape,
                std::span<const int32_t> chunk_first_keys);

  VisibleKeys visible(int reader, int owner) const;

  /// In which somebody takes something, ascending.
  const std::vector<int>& steps() const { return steps_; }
  /// Who takes from this rank in a step, and from whom this rank takes.
  int reader(int step) const { return (share_.rank + step) % share_.size; }
  int holder(int step) const { return holder_for(share_.rank, step); }
  int rank() const { return share_.rank; }

 private:
  int holder_for(int reader, int step) const { return (reader + share_.size - step) % share_.size; }
  size_t chunks() const { return 2 * static_cast<size_t>(share_.size); }

  ContextShare share_;
  const ops::AttentionShape& shape_;
  KeyLimits limits_;
  std::span<const int32_t> first_keys_;
  std::vector<int> steps_;
};

}  // namespace trireme::ring
