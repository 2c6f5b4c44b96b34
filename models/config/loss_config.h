// The training loss: terms added to the cross-entropy, and how many logits are held at once.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace trireme {

struct LossConfig {
  double z_loss = 0;           ///< coefficient of log(Z)^2, with Z the softmax denominator
  double label_smoothing = 0;  ///< probability mass of the target spread over the vocabulary
  int64_t chunk_tokens = 0;    ///< tokens per chunk of logits; 0: as many as fit kChunkBytes

  static constexpr int64_t kChunkBytes = int64_t{256} << 20;
  /// Of a micro-batch with a teacher, whose logits lie beside the student's, this part of the rows at once,
  /// and not fewer than these.
  static constexpr int64_t kTaughtParts = 16, kTaughtRows = 128;

  /// What changes the objective, by name; 0: it does not.
  auto terms() const {
    return std::to_array<std::pair<std::string_view, double>>({
        {"z-loss", z_loss},
        {"label smoothing", label_smoothing},
    });
  }
  bool adds_terms() const {
    return std::ranges::any_of(terms(), [](const auto& term) { return term.second > 0; });
  }
  /// Rows per chunk for `rows` whose logits take `bytes_a_row` each, with a teacher or without: all if they
  /// fit, else chunks as even as possible.
  int64_t rows_at_once(int64_t rows, int64_t bytes_a_row, bool has_teacher = false) const {
    const int64_t bytes = std::max<int64_t>(1, bytes_a_row) * (has_teacher ? 2 : 1);
    int64_t of_bytes = std::max<int64_t>(1, kChunkBytes / bytes);
    if (has_teacher)
      of_bytes = std::min(of_bytes, std::max(kTaughtRows, (rows + kTaughtParts - 1) / kTaughtParts));
    const int64_t most = chunk_tokens > 0 ? chunk_tokens : of_bytes;
    if (rows <= most) return rows;
    const int64_t chunks = (rows + most - 1) / most;
    return (rows + chunks - 1) / chunks;
  }

  friend bool operator==(const LossConfig&, const LossConfig&) = default;
};

}  // namespace trireme
