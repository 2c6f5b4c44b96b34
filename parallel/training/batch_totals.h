// BatchTotals: sums of a step or an evaluation over the global batch.
#pragma once

#include <limits>
#include <span>

namespace trireme {

/// Sums over the whole global batch, equal on all ranks.
struct BatchTotals {
  double loss_sum = 0;      ///< weighted sum of cross-entropies, in nats
  double weight = 0;        ///< sum of the weights of targets that count: their number where they have none
  double loss_scale = 1;    ///< factor by which gradients are scaled
  double aux_loss_sum = 0;  ///< sum of the routers' auxiliary losses
  double z_loss_sum = 0;    ///< sum of the routers' z-losses
  double added_sum = 0;     ///< sum of the objective: z-loss on logits and label smoothing

  /// Divides sums over targets into means; 1 when no target counts, and they are zero.
  double divisor() const { return weight == 0 ? 1 : weight; }
  /// The loss: the weighted mean over all targets of the global batch, the same for every layout. NaN without
  /// targets.
  double mean_loss() const { return mean_of(loss_sum); }
  /// The mean objective: the loss with all added terms, which training minimises.
  double mean_objective() const { return mean_of(loss_sum + aux_loss_sum + z_loss_sum + added_sum); }
  double mean_of(double sum) const {
    return weight == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / weight;
  }
};

/// `known` with the sums that BatchSums made: of losses, of what was added to them, and of weights.
inline BatchTotals with_sums(BatchTotals known, std::span<const double> sums) {
  known.loss_sum = sums[0];
  known.added_sum = sums[1];
  known.weight = sums[2];
  return known;
}

}  // namespace trireme
