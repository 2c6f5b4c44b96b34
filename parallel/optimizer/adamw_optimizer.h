// AdamW over the flat buffers of a stage, or over this rank's shard of them.
#pragma once

#include <vector>

#include "parallel/optimizer/optimizer.h"
#include "runtime/ops/training/adamw.h"

namespace trireme {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< of what is decayed (ParameterSettings)
  uint64_t seed = 0;          ///< of the stochastic rounding of weights without masters
};

class AdamWOptimizer final : public Optimizer {
 public:
  /// Moments start at zero, and exist for this rank's shards only. `storage` outlives the optimizer.
  AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config);

  OptimizerKind kind() const override { return OptimizerKind::adamw; }
  void begin(Context& ctx, double lr, int64_t number) override;
  void update(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) override;
  std::vector<StateBuffer> state() const override;

 private:
  struct Group {
    const ParameterGroup* group;
    Tensor m, v;    // f32, sharded
    Tensor update;  // ops::AdamWOptions::update
    // Without masters: what lies in this rank's shard of each bucket.
    std::vector<std::vector<ops::ElementRange>> ranges;
  };
  ops::AdamWOptions options(const Group& group) const;
  void update(Context& ctx, const ops::AdamWOptions& options, const Group& group, size_t bucket);

  AdamWConfig config_;
  std::vector<Group> groups_;
};

}  // namespace trireme
