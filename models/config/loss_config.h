// What training minimises beside the plain cross-entropy, and how many logits are held at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace trireme {

struct LossConfig {
  double z_loss = 0;           ///< times the squared logarithm of the softmax's sum of exponents
  double label_smoothing = 0;  ///< share of the target that is spread over the vocabulary
  int64_t chunk_tokens = 0;    ///< the most tokens whose logits are made at once; 0: those of kChunkBytes

  static constexpr int64_t kChunkBytes = int64_t{256} << 20;

  bool adds_terms() const { return z_loss > 0 || label_smoothing > 0; }
  /// Of `rows` whose logits take so many bytes a row: those whose logits are made at once. All where they may
  /// be; else they are divided as evenly as it goes.
  int64_t rows_at_once(int64_t rows, int64_t bytes_a_row) const {
    const int64_t of_bytes = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, bytes_a_row));
    const int64_t most = chunk_tokens > 0 ? chunk_tokens : of_bytes;
    if (rows <= most) return rows;
    const int64_t chunks = (rows + most - 1) / most;
    return (rows + chunks - 1) / chunks;
  }

  friend bool operator==(const LossConfig&, const LossConfig&) = default;
};

}  // namespace trireme
