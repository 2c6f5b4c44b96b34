// AdamW over the flat buffers of a stage.
#pragma once

#include <vector>

#include "parallel/module/parameter_storage.h"

namespace trireme {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< of matrices; vectors are not decayed
};

class AdamWOptimizer {
 public:
  /// Moments start at zero. `storage` outlives the optimizer.
  AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config);

  /// One update with gradient_scale * gradient; writes the master weights and their rounded copies.
  void step(Context& ctx, double lr, double gradient_scale);
  /// Updates made so far.
  int64_t num_steps() const { return num_steps_; }

 private:
  struct Moments {
    Tensor m, v;  // f32, flat as the group
  };
  ParameterStorage& storage_;
  AdamWConfig config_;
  std::vector<Moments> moments_;  // one a group
  int64_t num_steps_ = 0;
};

}  // namespace trireme
