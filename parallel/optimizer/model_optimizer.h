// ModelOptimizer: all optimizers of a rank's parameters.
#pragma once

#include <memory>
#include <vector>

#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/optimizer/muon_optimizer.h"
#include "parallel/optimizer/optimizer.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Each group is updated by the optimizer that its settings name.
class ModelOptimizer {
 public:
  /// Arguments outlive it. All ranks of the world make one, with equal options and rules.
  ModelOptimizer(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
                 const AdamWConfig& adamw, const MuonConfig& muon);

  /// Begins an update (Optimizer::begin).
  void begin(Context& ctx, double lr);
  /// The update (Optimizer::update). With a scale that is not finite it changes nothing, but counts.
  void step(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated);

  /// Updates begun so far, and what a run that continues has to begin with.
  int64_t num_steps() const { return num_steps_; }
  void set_num_steps(int64_t num_steps) { num_steps_ = num_steps; }
  /// Of all optimizers: with num_steps() all that an update depends on beside weights and gradients.
  std::vector<StateBuffer> state() const;

 private:
  ParameterStorage& storage_;
  std::vector<std::unique_ptr<Optimizer>> optimizers_;
  int64_t num_steps_ = 0;
};

}  // namespace trireme
