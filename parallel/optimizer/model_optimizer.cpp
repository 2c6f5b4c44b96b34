#include "parallel/optimizer/model_optimizer.h"

#include <algorithm>

namespace trireme {

ModelOptimizer::ModelOptimizer(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
                               const AdamWConfig& adamw, const MuonConfig& muon)
    : storage_(storage) {
  // By the rules, which all ranks share: a stage without such matrices has its part in making groups of
  // ranks.
  const auto is_named = [&](OptimizerKind kind) {
    return std::ranges::any_of(storage.sharding().rules,
                               [&](const ParameterRule& rule) { return rule.optimizer == kind; });
  };
  optimizers_.push_back(std::make_unique<AdamWOptimizer>(ctx, storage, adamw));
  if (is_named(OptimizerKind::muon))
    optimizers_.push_back(std::make_unique<MuonOptimizer>(ctx, parallel, storage, muon));
}

void ModelOptimizer::begin(Context& ctx, double lr) {
  ++num_steps_;
  for (const auto& optimizer : optimizers_) optimizer->begin(ctx, lr, num_steps_);
}

void ModelOptimizer::step(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) {
  storage_.forget_whole_weights();
  for (const auto& optimizer : optimizers_) optimizer->update(ctx, gradient_scale, updated);
}

std::vector<StateBuffer> ModelOptimizer::state() const {
  std::vector<StateBuffer> all;
  for (const auto& optimizer : optimizers_) {
    const auto some = optimizer->state();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace trireme
