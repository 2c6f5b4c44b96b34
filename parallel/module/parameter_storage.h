// The memory of a stage's parameters: flat buffers that optimizer, reduction and checkpoint walk without
// knowing layers.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "parallel/module/flat_layout.h"
#include "parallel/module/parameter.h"
#include "parallel/plan/replica_groups.h"
#include "parallel/plan/sharding_spec.h"

namespace trireme {

/// A run of blocks that is reduced, updated and gathered at once. Its length is a multiple of the number of
/// shards.
struct ParameterBucket {
  int64_t begin = 0, end = 0;  ///< indices in the group
  /// f32, whole: a slice of the group's gradients, or, where those are sharded, memory of its own between
  /// ParameterStorage::make_gradients() and release_gradients().
  Tensor gradients;
  /// Where weights are sharded: all of them while they are whole, else undefined. As old as the last gather.
  Tensor weights;
};

/// A FlatGroup with its memory. Every block begins at a multiple of ops::kSumBlock, so that sums over fixed
/// blocks depend neither on buckets nor on shards.
struct ParameterGroup {
  struct Place {
    ParameterBlock* block;
    int64_t begin;  ///< index of its first element
    size_t bucket;
  };
  bool matrices = true;           ///< matrices (compute type) or vectors (f32)
  bool experts = false;           ///< of experts, which other ranks share than everything else
  ParameterSettings settings;     ///< how all of them are updated
  std::vector<Place> places;      ///< by begin
  int64_t numel = 0;              ///< with padding between blocks; the padding is zero in every buffer
  int num_shards = 1, shard = 0;  ///< shards that each bucket is cut into, and this rank's
  std::vector<ParameterBucket> buckets;
  Tensor weights;  ///< what layers compute with: compute type for matrices, f32 for vectors; or sharded
  Tensor master;  ///< f32 weights that the optimizer updates; `weights` itself where that is f32; or sharded;
                  ///< undefined without masters
  Tensor gradients;  ///< f32; or sharded; undefined where frozen

  /// This rank's shard of a bucket in a buffer of the group, be that whole (numel elements) or sharded (numel
  /// / num_shards elements: this rank's shards of the buckets, one after the other).
  Tensor own_shard(const ParameterBucket& bucket, const Tensor& buffer) const;
  ParameterKind kind() const { return experts ? ParameterKind::expert : ParameterKind::dense; }
  bool is_sharded(const Tensor& buffer) const { return buffer.numel() != numel; }
};

/// One parameter's place in its group.
struct ParameterView {
  const Parameter* parameter;
  const ParameterGroup* group;
  size_t bucket;
  int64_t begin;    ///< index of its first element in the group
  Tensor master;    ///< f32, this rank's block; undefined where masters are sharded or absent
  Tensor gradient;  ///< f32, this rank's block; undefined where gradients are sharded, or it is frozen
};

class ParameterStorage {
 public:
  /// Lays out `blocks` (in the order of the forward pass; they outlive the storage) and points their weights
  /// and gradients into it, where these are whole. Weights are uninitialised, gradients zero. Where weights
  /// are sharded no bucket has blocks of two owners. Throws UserError (usage) where sharding.rules treat
  /// members of one block differently.
  ParameterStorage(Context& ctx, std::span<ParameterBlock* const> blocks, DType compute_type,
                   const ShardingSpec& sharding = {});
  ParameterStorage(const ParameterStorage&) = delete;  // views point into groups
  ParameterStorage& operator=(const ParameterStorage&) = delete;

  const ShardingSpec& sharding() const { return sharding_; }
  std::span<ParameterGroup> groups() { return groups_; }
  /// Every parameter in the order of the forward pass.
  const std::vector<ParameterView>& parameters() const { return parameters_; }

  /// Initial values from (seed, global name, global element): equal in every layout.
  void initialize(Context& ctx, uint64_t seed);
  /// Gives parameters new values: `fill` is called with each, in the order of the forward pass, and f32
  /// memory for this rank's block of it. False: it has written nothing, and the parameter keeps its value.
  void set(Context& ctx, const std::function<bool(const Parameter&, const Tensor&)>& fill);
  /// Clears whole gradients; sharded ones are written again by every reduction.
  void zero_gradients(Context& ctx);
  /// Rounds the master weights, where both are whole or both sharded, into the weights that layers compute
  /// with, after somebody wrote the masters.
  void refresh_weights(Context& ctx);

  /// Where gradients are sharded: gives a bucket zeroed memory and points its blocks there; takes it back.
  void make_gradients(Context& ctx, ParameterGroup& group, ParameterBucket& bucket);
  void release_gradients(ParameterGroup& group, ParameterBucket& bucket);

  /// Where weights are sharded: points the blocks of a bucket into its whole weights; takes them away.
  void show_weights(const ParameterGroup& group, const ParameterBucket& bucket);
  void hide_weights(const ParameterGroup& group, const ParameterBucket& bucket);
  /// The sharded weights have new values: lets go of all whole ones.
  void forget_whole_weights();

 private:
  void add_group(Context& ctx, std::span<ParameterBlock* const> blocks, const FlatGroup& flat,
                 DType compute_type);
  void store(Context& ctx, const ParameterView& view, const Tensor& values);

  ShardingSpec sharding_;
  std::vector<ParameterGroup> groups_;
  std::vector<ParameterView> parameters_;
};

}  // namespace trireme
