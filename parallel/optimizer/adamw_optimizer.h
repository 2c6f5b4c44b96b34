// AdamW over the flat buffers of a stage, or over this rank's shards of them.
#pragma once

#include <functional>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "runtime/ops/training/adamw.h"

namespace trireme {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  ///< of matrices; vectors are not decayed
  uint64_t seed = 0;          ///< of the stochastic rounding of weights without masters
};

/// Told that this rank's shard of a bucket has its new weights.
using BucketUpdated = std::function<void(const ParameterGroup&, const ParameterBucket&)>;

class AdamWOptimizer {
 public:
  /// Moments start at zero, and exist for this rank's shards only. `storage` outlives the optimizer.
  AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config);

  /// Begins an update: gives the device what follows from its number and learning rate.
  void begin(Context& ctx, double lr);
  /// The update, of this rank's shards, with gradient_scale ([1] f32) * gradient; writes the master weights
  /// and their rounded copies, or the weights alone, stochastically rounded, bucket by bucket. A scale that
  /// is not finite changes nothing, but counts as an update.
  void step(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated);
  /// Updates begun so far.
  int64_t num_steps() const { return num_steps_; }

 private:
  ops::AdamWOptions options() const;
  void update(Context& ctx, const ops::AdamWOptions& options, size_t group, size_t bucket);

  struct Moments {
    Tensor m, v;  // f32, this rank's shards of the group
  };
  ParameterStorage& storage_;
  AdamWConfig config_;
  std::vector<Moments> moments_;  // one a group
  Tensor update_;                 // ops::AdamWOptions::update
  // Of groups without masters: what lies in this rank's shard of each bucket.
  std::vector<std::vector<std::vector<ops::ElementRange>>> ranges_;
  int64_t num_steps_ = 0;
};

}  // namespace trireme
