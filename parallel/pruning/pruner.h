// Pruner: which weights of a training are zero, and stay so.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "parallel/optimizer/optimizer.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/pruning/prunable.h"
#include "parallel/pruning/prune_config.h"

namespace trireme {

/// Beside each group of matrices (of all trained parameters, where units are more than single weights) there
/// is a mask of one byte for each element, sharded as the state of an optimizer: 1 where the weight is zero
/// for good. What is pruned has no gradient, from the norm on, no moments, and is zero in masters and copies.
///
/// Magnitude decides (of units the root of the sum of squares), after some updates (chooses_after()), on
/// whole parameters, which the ranks that have parts of one put together on the host one after the other. So
/// the choice depends on the weights and not on the layout: what is equal goes by its place in the model.
/// Once zero stays zero: after a choice exactly floor(part * units) units are, or more where more were.
class Pruner {
 public:
  /// Arguments outlive it. All ranks of the world make one, with equal config and `prunable`. `moments`: the
  /// state of the optimizers. `adamw_keeps_zeros`: its epsilon is above 0.
  Pruner(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
         std::vector<StateBuffer> moments, bool adamw_keeps_zeros, const PruneConfig& config,
         Prunable prunable);

  /// Before the first passes, when weights and masks are as they were loaded, after so many updates: zeros of
  /// the weights become masks (PruneConfig::keeps_zeros) where there are none, and what the schedule asks for
  /// is chosen. True where weights have changed, as in the next. All ranks call it.
  bool begin(Context& ctx, int64_t updates);
  /// After an update, of which this one has the number: chooses, if the schedule says so. `gradient_scale`
  /// ([1] f32): not finite where the update was halted, after which nothing is chosen until the next one. All
  /// ranks call it.
  bool choose_after(Context& ctx, int64_t updates, const Tensor& gradient_scale);

  /// This rank's shards of the reduced gradients. Captured by graphs, as the next.
  void mask_gradients(Context& ctx) const;
  /// This rank's shard of a bucket, which was updated: only where the optimizer may make other numbers than
  /// zero of a zero without gradient and moments.
  void mask_updated(Context& ctx, const ParameterGroup& group, const ParameterBucket& bucket) const;

  /// The masks, as "pruned".
  std::vector<StateBuffer> state() const;
  /// Of all weights of the prunable matrices the part that is zero for good; equal on all ranks.
  double part_zero() const;

 private:
  struct Group {
    const ParameterGroup* group;
    Tensor mask;                  // u8, sharded
    std::vector<Tensor> moments;  // as the optimizers have them
  };
  struct Part {
    size_t first_unit;  // of all units of the model
    const UnitPart* part;
  };

  const Group* find(const ParameterGroup& group) const;
  bool is_prunable(const ParameterView& view) const;
  /// Ranks that hold parts of the same parameter side by side.
  Communicator& width_of(const Parameter& p) const;
  /// Exactly one rank of the world counts a parameter.
  bool counts(const ParameterView& view) const;
  /// The whole parameter on every rank that holds a part: |w|, or kPruned.
  std::vector<float> scores_of(Context& ctx, const ParameterView& view) const;
  /// Makes what is_pruned() in a whole parameter the mask.
  void write_mask(Context& ctx, const ParameterView& view, std::span<const float> scores) const;
  void sum_over_world(Context& ctx, std::span<int64_t> numbers) const;
  void keep_zeros(Context& ctx) const;
  void choose(Context& ctx, double factor) const;
  void choose_of_matrices(Context& ctx, double part) const;
  void choose_of_all(Context& ctx, double part) const;
  void choose_units(Context& ctx, double part) const;
  /// Of every unit of the model the sum of squares, or kPruned where all of it is zero for good.
  std::vector<double> measure_units(Context& ctx) const;
  void mask_units(Context& ctx, const std::vector<bool>& goes) const;
  void apply(Context& ctx);  // masks have changed
  int64_t count_zeros(Context& ctx) const;

  const ParallelContext& parallel_;
  ParameterStorage& storage_;
  bool adamw_keeps_zeros_;
  PruneConfig config_;
  Prunable prunable_;
  std::vector<Group> groups_;
  std::map<std::string, size_t> matrix_of_;            // by name its number
  std::map<std::string, std::vector<Part>> parts_of_;  // of units, by the parameter's name
  bool is_due_ = false;                                // a choice that a halted update left out
  int64_t num_zero_ = 0, num_weights_ = 0;
};

}  // namespace trireme
