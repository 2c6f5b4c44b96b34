// One matrix to codes: round to nearest, with a search for scales that clip, or GPTQ (arXiv 2210.17323).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "models/compress/input_statistics.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

enum class RoundingMethod : uint8_t { nearest, gptq };
/// GPTQ's order of columns. static_groups: by falling diagonal of the Hessian, groups of neighbouring inputs
/// with scales of the matrix as it was. groups: the sorted columns form the groups (CodedMatrix::order).
enum class ColumnOrder : uint8_t { as_is, static_groups, groups };

struct RoundingOptions {
  ops::PackedSpec spec = {};
  RoundingMethod method = RoundingMethod::nearest;
  ColumnOrder order = ColumnOrder::as_is;
  double damping = 0.01;  ///< of the mean of the Hessian's diagonal, added to it
  int64_t block = 128;    ///< columns that are updated at once, in whole groups
  bool clips = false;     ///< scales of each group are those of the least squared error of the layer's output
  /// GPTQ: weights that are zero stay zero, of sparse matrices; rounding to nearest leaves them so anyway.
  bool keeps_zeros = false;
};

struct RoundingReport {
  double error = 0;    ///< tr((W - W') H (W - W')^T) / tr(W H W^T); 0 of nothing; of the weights without H
  double damping = 0;  ///< that the Hessian factored with, as a part of its mean diagonal
  int64_t dead = 0;    ///< inputs that were always zero
  std::string note;    ///< for the log: damping that grew, fallen back to rounding; empty: nothing happened
};

struct RoundedMatrix {
  ops::CodedMatrix matrix;
  RoundingReport report;
};

/// w [outputs, inputs]; statistics of its inputs, perhaps empty (an expert without tokens: rounded to
/// nearest, said in the note). Never fails on a Hessian: dead inputs get weights of zero and a one on the
/// diagonal (GPTQ), damping grows tenfold until the matrix factors, and what never does is rounded to
/// nearest. Bits do not depend on threads; rows of w are independent of one another given the statistics.
/// UserError (bad_input) for a weight that is not finite.
RoundedMatrix quantize_matrix(Context& ctx, std::span<const float> w, int64_t outputs, int64_t inputs,
                              const InputStatistics& statistics, const RoundingOptions& options);

/// tr(D H D^T) of D [outputs, inputs].
double output_error(Context& ctx, std::span<const float> difference, int64_t outputs,
                    const InputStatistics& statistics);

}  // namespace trireme
