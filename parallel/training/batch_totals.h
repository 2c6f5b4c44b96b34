// BatchTotals: what a step or an evaluation sums over the global batch.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace trireme {

/// Sums over the whole global batch, equal on all ranks.
struct BatchTotals {
  double loss_sum = 0;      ///< nats: cross-entropies
  int64_t num_targets = 0;  ///< tokens that count
  double loss_scale = 1;    ///< by which the gradients are too large
  double aux_loss_sum = 0;  ///< what the routers' auxiliary losses add to the sum that is minimised
  double z_loss_sum = 0;    ///< likewise their z-losses
  double added_sum = 0;     ///< likewise the objective: z-loss on logits and label smoothing

  /// The token-weighted mean over the global batch: the loss, defined once for every layout. No number (NaN)
  /// when no token counts.
  double mean_loss() const { return mean_of(loss_sum); }
  /// With all that is added to it: what was minimised.
  double mean_objective() const { return mean_of(loss_sum + aux_loss_sum + z_loss_sum + added_sum); }
  double mean_of(double sum) const {
    return num_targets == 0 ? std::numeric_limits<double>::quiet_NaN()
                            : sum / static_cast<double>(num_targets);
  }
};

/// `known` with the sums that BatchSums made: of losses, of what was added to them, and of targets.
inline BatchTotals with_sums(BatchTotals known, std::span<const double> sums) {
  known.loss_sum = sums[0];
  known.added_sum = sums[1];
  known.num_targets = std::llround(sums[2]);
  return known;
}

}  // namespace trireme
