// Where the blocks of a rank's parameters lie in flat storage: from their sizes alone, nothing is allocated.
// ParameterStorage allocates what this says, and models/cost counts it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/module/parameter.h"
#include "parallel/plan/parameter_rules.h"
#include "parallel/plan/sharding_spec.h"

namespace trireme {

/// What of a block its place depends on.
struct BlockSize {
  int64_t numel = 0;
  int64_t owner = 0;  ///< number of the layer it belongs to; blocks of one layer are neighbours
  int holders = 0;    ///< ParameterBlock::holders
  bool is_matrix = true;
  bool is_expert = false;
  ParameterSettings settings = {};  ///< how it is updated
};

/// How a block is updated. Throws UserError (usage) where the rules treat its members differently.
ParameterSettings settings_of_block(const ParameterBlock& block, std::span<const ParameterRule> rules);

/// A run of blocks that is reduced, updated and gathered at once: indices [begin, end) of its group. The
/// length is a multiple of ops::kSumBlock * num_shards.
struct FlatBucket {
  int64_t begin = 0, end = 0;

  int64_t numel() const { return end - begin; }
};

/// Blocks of one kind that are updated alike, in one flat index space, in the order in which the backward
/// pass completes their gradients: the last block first.
struct FlatGroup {
  struct Place {
    size_t block;       ///< number of the block in the order of the forward pass
    int64_t begin;      ///< index of its first element, a multiple of ops::kSumBlock
    size_t bucket = 0;  ///< it lies in this one whole
  };
  bool matrices = true;             ///< matrices (compute type) or vectors (f32)
  bool experts = false;             ///< of experts, which other ranks share than everything else
  ParameterSettings settings = {};  ///< how all of them are updated
  bool shards_weights = false;      ///< ZeRO 3, of matrices: then no bucket has blocks of two owners
  int num_shards = 1, shard = 0;    ///< shards that each bucket is cut into, and this rank's
  std::vector<Place> places;        ///< by begin
  std::vector<FlatBucket> buckets;
  int64_t numel = 0;  ///< with padding between blocks

  int64_t shard_numel() const { return numel / num_shards; }
};

/// The groups that have blocks, of these in this order: matrices, matrices of experts, vectors, vectors of
/// experts; and of each
/// kind one for every way of being updated, in the order in which the backward pass comes to them. `blocks`
/// in the order of the forward pass. A bucket closes once it holds sharding.bucket_bytes of f32 gradients.
/// One with blocks that several pipeline ranks hold has nothing but such blocks of one layer, so that it is
/// the same on all of these: copies are sharded and summed alike, and stay equal bit for bit.
std::vector<FlatGroup> flat_layout(std::span<const BlockSize> blocks, const ShardingSpec& sharding);

}  // namespace trireme
