// Softmax cross-entropy fused with its gradient.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// A target that counts neither in the loss nor in the gradient.
inline constexpr int32_t kIgnoredTarget = -1;

/// How rows of logits become a loss. Z is the sum of a row's exponents over the whole vocabulary.
struct CrossEntropyOptions {
  float gradient_scale = 1;
  /// c above 0: a logit x counts as c * tanh(x / c), in fp32 (Gemma 2, arXiv 2408.00118), and dlogits are the
  /// gradient of x.
  float soft_cap = 0;
  /// Adds z_loss * log(Z)^2 to a row's loss (PaLM, arXiv 2204.02311, section 5).
  float z_loss = 0;
  /// The target is this much of a uniform distribution over the vocabulary, and the rest of a one-hot one
  /// (Szegedy et al., arXiv 1512.00567, section 7). Below 1.
  float label_smoothing = 0;
};

/// loss[n] = -log softmax(logits[n])[targets[n]], in nats; 0 where the target is ignored. added[n] is what
/// z-loss and smoothing add to it in what is minimised; it may be absent. logits: [N,V] compute type,
/// targets: [N] i32, loss, added: [N] f32. dlogits ([N,V], compute type; may be absent or logits itself) =
/// gradient_scale times the gradient of the *sum* of loss and added; rows of ignored targets are zero.
/// weights: [N] f32, finite; loss, added and dlogits of a row are times its weight, and a target of weight 0
/// is an ignored one. Absent: 1 each, with the same bits.
void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets,
                   const CrossEntropyOptions& options, const Tensor& loss, const Columns& dlogits,
                   const Tensor& added = {}, const Tensor& weights = {});
TRIREME_OP_BODIES(cross_entropy, Context& ctx, const Columns& logits, const Tensor& targets,
                  const CrossEntropyOptions& options, const Tensor& loss, const Columns& dlogits,
                  const Tensor& added, const Tensor& weights)

/// Cross-entropy over a sharded vocabulary, first half. logits [N,V] are the columns `part` of rows whose
/// other columns lie elsewhere; targets [N] i32 count over all columns. statistics [N,4] f32 receives for
/// each row the largest logit here, the sum of exp(logit - largest), the target's logit, or 0 where the
/// target lies elsewhere or is ignored, and with label smoothing the sum of the logits, else 0; all of them
/// under the soft cap. The gradient's scale plays no part yet.
void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const CrossEntropyOptions& options,
                              const Tensor& statistics);
TRIREME_OP_BODIES(cross_entropy_statistics, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const CrossEntropyOptions& options, const Tensor& statistics)
/// Second half: statistics [P,N,4] f32 of all P parts of the vocabulary. loss and added [N] f32 as in
/// cross_entropy, the same bits wherever they are computed; dlogits ([N,V]; may be absent or logits itself)
/// are this part's columns of its dlogits. The options are those of the first half, weights as in
/// cross_entropy.
void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const CrossEntropyOptions& options, const Tensor& statistics, const Tensor& loss,
                           const Columns& dlogits, const Tensor& added = {}, const Tensor& weights = {});
TRIREME_OP_BODIES(cross_entropy_of_part, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const CrossEntropyOptions& options, const Tensor& statistics,
                  const Tensor& loss, const Columns& dlogits, const Tensor& added, const Tensor& weights)

/// Numbers in a row of statistics.
inline constexpr int64_t kCrossEntropyStatistics = 4;

/// Of a row: dlogits = (factor * exp(logit - max) - uniform) * slope of the cap, and where the target lies
/// (factor * exp(logit - max) - at_target) * slope.
struct CrossEntropyGradient {
  float factor, uniform, at_target;
};

/// Of a row of this weight. `sum` of exp(logit - max) over all `num_columns`, and log_sum = log Z. Without
/// z-loss and smoothing no rounding beside that of the division.
constexpr CrossEntropyGradient cross_entropy_gradient(const CrossEntropyOptions& o, float weight, double sum,
                                                      double log_sum, int64_t num_columns) {
  const double scale = double{o.gradient_scale} * double{weight},
               steep = 1 + 2.0 * double{o.z_loss} * log_sum,
               uniform = scale * double{o.label_smoothing} / static_cast<double>(num_columns);
  return {static_cast<float>(scale * steep / sum), static_cast<float>(uniform),
          static_cast<float>(scale * (1 - double{o.label_smoothing}) + uniform)};
}

/// Of a row of this weight whose logits have this sum, `total`, over all columns (used with smoothing alone).
constexpr float cross_entropy_added(const CrossEntropyOptions& o, float weight, double log_sum,
                                    double at_target, double total, int64_t num_columns) {
  return static_cast<float>(
      double{weight} * (double{o.z_loss} * log_sum * log_sum +
                        double{o.label_smoothing} * (at_target - total / static_cast<double>(num_columns))));
}

}  // namespace trireme::ops
