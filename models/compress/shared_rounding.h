// Rounding or pruning a matrix together: each rank some of its outputs; and giving the result to others.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/compress/folded_weights.h"
#include "models/compress/quantize_matrix.h"
#include "models/compress/quantize_model.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// A matrix' result, whole.
struct QuantizedMatrix {
  ops::CodedMatrix matrix;
  std::vector<float> values;  ///< of a pruned one, in place of codes: [outputs, inputs]
  MatrixOutcome outcome;
};

/// quantize_matrix() of the whole parameter, of which each rank of `ranks` reads and rounds some of the
/// outputs; all have the result. All call it, with equal arguments, and statistics that are equal bit for
/// bit. Errors of the source and of quantize_matrix().
QuantizedMatrix quantize_together(Context& ctx, Communicator& ranks, const Parameter& parameter,
                                  const FoldedWeights& weights, const InputStatistics& statistics,
                                  const RoundingOptions& options);

/// prune_matrix() of the whole parameter, likewise: the values are those of one rank.
QuantizedMatrix prune_together(Context& ctx, Communicator& ranks, const Parameter& parameter,
                               const FoldedWeights& weights, const InputStatistics& statistics,
                               const PruneOptions& options);

/// From rank `root` of `world`, which has a result, to rank 0, or with `to_all` to all ranks. Every rank
/// calls it. Nothing on ranks that it does not reach, but for those that have it already.
std::optional<QuantizedMatrix> deliver(Context& ctx, Communicator& world, int root, bool to_all,
                                       std::optional<QuantizedMatrix> result);

/// "int4 in groups of 64, gptq".
std::string describe_rounding(const RoundingOptions& options);

}  // namespace trireme
