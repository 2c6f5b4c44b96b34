// RouterBalance: routing statistics of an MoE router in a step, and the state that balances its experts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/module/layer_statistics.h"
#include "runtime/device/stopwatch.h"

namespace trireme {

class RoutingObserver;

/// Sums over the tokens of a step.
struct RouterSums {
  double num_tokens = 0;
  double num_dropped = 0;      ///< choices dropped for capacity
  double aux_loss = 0;         ///< auxiliary loss, in nats, as a sum over tokens
  double z_loss = 0;           ///< the same for the z-loss
  std::vector<double> chosen;  ///< how often each expert was chosen, before drops

  /// As one row of numbers, for exchange.
  std::vector<double> packed() const;
  static RouterSums unpack(std::span<const double> row);
};

/// One per router.
struct RouterBalance final : LayerStatistics {
  RouterBalance(std::string router_name, int64_t router_layer, int64_t num_experts, double rate);

  double bias_rate;       ///< 0: no biases
  RouterSums sums;        ///< of this rank's micro-batches so far
  Stopwatch expert_time;  ///< in which this rank's experts of the router computed in them
  /// Added to the scores when experts are chosen (arXiv 2408.15664); empty without them.
  std::vector<float> bias;
  /// Each expert's load in the previous step, relative to the mean; ones before the first step.
  std::vector<double> last_load;
  RoutingObserver* observer = nullptr;  ///< called on each choice; must outlive its use

  void clear() override;
  std::vector<double> counted() const override { return sums.packed(); }
  double seconds() override { return expert_time.seconds(); }
  /// A bias goes up by bias_rate where the expert had less than the even load, down where it had more.
  void finish(const RouterSums& of_global_batch);
  void finish(std::span<const double> of_global_batch) override {
    finish(RouterSums::unpack(of_global_batch));
  }
};

}  // namespace trireme
