// Which weights of a matrix become zero. On the host, in fp64, on the context's threads; bits depend on the
// operands and the machine alone, and not on how rows are shared out over ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/ops/compress/feedback_rounding.h"
#include "runtime/ops/compress/hessian.h"

namespace trireme::ops {

/// The ranks that have the rows of a matrix, each some that follow those of the rank before it, or none.
struct RowRanks {
  int rank = 0, ranks = 1;
  /// In place, their sums over all ranks, which call it together. Absent: there is one rank.
  std::function<void(std::span<int64_t> counts)> add_up = {};
};

/// Where a weight stands in the order in which weights go: those that are zero first, then by importance,
/// which is not negative (NaN: last).
uint64_t removal_key(float w, double importance);

/// The first keys in rising order: those below `limit`, and of those equal to it the first `ties[r]` of row
/// r.
struct FirstKeys {
  uint64_t limit = 0;
  std::vector<int64_t> ties;

  /// Whether this one goes; keys of a row in their order.
  bool takes(uint64_t key, int64_t& ties_left) const {
    return key < limit || (key == limit && ties_left-- > 0);
  }
};

/// Of the keys of all ranks' rows the first floor(part * number), part of [0, 1]; of equal ones those of the
/// first rows, and within a row the first. fill(row, keys) writes this rank's row `row` of `width` keys, on
/// any thread, several times. All ranks call it.
FirstKeys first_keys(Context& ctx, int64_t rows, int64_t width, double part, const RowRanks& ranks,
                     const std::function<void(int64_t row, uint64_t* keys)>& fill);

/// Weights whose importance is |w| * norms[input].
struct NormedWeights {
  std::span<const float> w;  ///< [outputs, inputs], finite
  int64_t outputs = 0, inputs = 0;
  std::span<const double> norms;  ///< [inputs]; empty: 1 each
};

/// Of every `of` neighbouring inputs the first `zeros` become zero; inputs behind the last whole group stay.
/// With `of` 0: of each output's inputs the first `zeros`. Values [outputs, inputs]; of equal keys the first
/// inputs go.
void prune_groups(Context& ctx, const NormedWeights& weights, int64_t zeros, int64_t of,
                  std::span<float> values);
/// The first floor(sparsity * number) of the whole matrix become zero. All ranks call it.
void prune_whole(Context& ctx, const NormedWeights& weights, double sparsity, const RowRanks& ranks,
                 std::span<float> values);

/// SparseGPT (arXiv 2301.00774, algorithm 1) in the form of round_with_feedback(): with H = R R^T the factor
/// U of H^-1 = U^T U is R^-1, so that w^2 / U_ii^2 is (w R_ii)^2.
struct FeedbackPruning {
  std::span<const float> w;  ///< [outputs, inputs], finite
  int64_t outputs = 0, inputs = 0;
  std::span<const uint8_t> dead;  ///< inputs whose weights become zero
  /// Of each block of columns, as it stands after the errors of the blocks before it, the first
  /// floor(sparsity * number) of all ranks' rows; weights that are zero come first and stay zero.
  double sparsity = 0;
  /// In place of that: as in prune_groups(), chosen when a group's first column is reached; `block` is then
  /// a multiple of `of`.
  int64_t zeros = 0, of = 0;
  int64_t block = 128;
};
/// Into values [outputs, inputs]. All ranks call it. Errors are of this rank's rows; inputs that are dead
/// have none.
FeedbackErrors prune_with_feedback(Context& ctx, const FeedbackPruning& pruning, const HessianFactor& factor,
                                   const RowRanks& ranks, std::span<float> values);

}  // namespace trireme::ops
