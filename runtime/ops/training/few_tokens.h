// A few tokens of each row of logits over a sharded vocabulary: the likeliest, or drawn ones. Each part of
// the vocabulary says what it has, and from what all parts say every one makes the same tokens.
#pragma once

#include "runtime/base/philox.h"
#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// The distribution softmax(c(logit) / temperature), c(x) = soft_cap * tanh(x / soft_cap), or x without a
/// cap (0). Columns of -inf are no tokens.
struct LogitSoftmax {
  float soft_cap = 0;
  float temperature = 1;
};

/// Most tokens of a row.
inline constexpr int64_t kMostFewTokens = 1024;

/// Of the columns that lie here, under the cap: statistics [N,2] f64 receives for each row the largest logit
/// (-inf: there is none) and the sum of exp((logit - largest) / temperature), which is NaN where a logit is
/// NaN or +infinity. logits [N,V], a compute type.
void softmax_statistics(Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                        const Tensor& statistics);
TRIREME_OP_BODIES(softmax_statistics, Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                  const Tensor& statistics)

/// The k largest of each row's columns under the cap, the largest first, of equal ones the first column:
/// ids [N,k] i32, column + `first`, and values [N,k] f32; -1 and -inf where there are no more that are
/// numbers above -inf.
void likeliest_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                       const Tensor& ids, const Tensor& values);
TRIREME_OP_BODIES(likeliest_columns, Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                  int64_t first, const Tensor& ids, const Tensor& values)

/// From what P parts of the vocabulary have said, their columns rising with p: statistics [P,N,2],
/// part_ids and part_values [P,N,K]. ids [N,k] i32 receives the k likeliest of all in the same order, and
/// probabilities [N,k] f32 theirs; -1 and 0 behind the last. A row whose sum is no number above 0: NaN first.
void merge_likeliest(Context& ctx, const LogitSoftmax& softmax, const Tensor& statistics,
                     const Tensor& part_ids, const Tensor& part_values, const Tensor& ids,
                     const Tensor& probabilities);
TRIREME_OP_BODIES(merge_likeliest, Context& ctx, const LogitSoftmax& softmax, const Tensor& statistics,
                  const Tensor& part_ids, const Tensor& part_values, const Tensor& ids,
                  const Tensor& probabilities)

/// Which random numbers the rows have: row n is of sample first_sample + (first_row + n) / rows_a_sample.
struct DrawOptions {
  uint64_t key = 0;  ///< of a stream (stream_key)
  int64_t first_sample = 0;
  int64_t rows_a_sample = 1;
  int64_t first_row = 0;

  constexpr int64_t sample_of(int64_t row) const { return first_sample + (first_row + row) / rows_a_sample; }
  /// In (0, 1), with 52 bits: of a draw of the token at `place` of a sample.
  constexpr double uniform(int64_t sample, int32_t place, int64_t draw) const {
    const auto words = philox4x32(key, uint64_t{static_cast<uint32_t>(place)} << 32 | uint64_t(draw / 2),
                                  static_cast<uint64_t>(sample));
    const uint32_t high = words[draw % 2 * 2], low = words[draw % 2 * 2 + 1];
    return (static_cast<double>((uint64_t{high} << 32 | low) >> 12) + 0.5) * 0x1.0p-52;
  }
};

/// Independent draws by the inverse of the distribution's sum over the columns in their order. logits are
/// part number `part` of the vocabulary, and begin with column `first`; statistics [P,N,2] are those of all
/// parts. draws [N,n] i32 receives the tokens that lie here, -1 for the others; places [N] i32. A row whose
/// sum is no number above 0 draws nothing.
void draw_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                  int64_t part, const DrawOptions& options, const Tensor& places, const Tensor& statistics,
                  const Tensor& draws);
TRIREME_OP_BODIES(draw_columns, Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                  int64_t first, int64_t part, const DrawOptions& options, const Tensor& places,
                  const Tensor& statistics, const Tensor& draws)

/// Equal draws of a row become one: ids [N,n] i32, rising, and probabilities [N,n] f32, their number / n; -1
/// and 0 behind the last. A row that drew nothing (-1 everywhere): NaN first.
void merge_draws(Context& ctx, const Tensor& draws, const Tensor& ids, const Tensor& probabilities);
TRIREME_OP_BODIES(merge_draws, Context& ctx, const Tensor& draws, const Tensor& ids,
                  const Tensor& probabilities)

}  // namespace trireme::ops
