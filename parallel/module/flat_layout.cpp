#include "parallel/module/flat_layout.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

FlatGroup lay_out(std::span<const BlockSize> blocks, bool matrices, bool experts,
                  const ParameterSettings& settings, const ShardingSpec& sharding) {
  FlatGroup group{.matrices = matrices,
                  .experts = experts,
                  .settings = settings,
                  .shards_weights = sharding.zero_stage >= 3 && matrices,
                  .num_shards = experts ? sharding.num_expert_shards : sharding.num_shards,
                  .shard = experts ? sharding.expert_shard : sharding.shard,
                  .places = {},
                  .buckets = {}};
  for (size_t i = blocks.size(); i-- > 0;) {
    if (blocks[i].is_matrix == matrices && blocks[i].is_expert == experts && blocks[i].settings == settings)
      group.places.push_back({.block = i, .begin = 0});
  }
  FlatBucket bucket;
  for (size_t i = 0; i < group.places.size(); ++i) {
    auto& place = group.places[i];
    place.begin = bucket.end;
    place.bucket = group.buckets.size();
    bucket.end += round_up(blocks[place.block].numel, ops::kSumBlock);
    const bool last = i + 1 == group.places.size();
    const BlockSize& block = blocks[place.block];
    const BlockSize& next = last ? block : blocks[group.places[i + 1].block];
    const bool stays_with_layer = group.shards_weights || block.holders != 0;
    const bool ends =
        last || next.holders != block.holders || (stays_with_layer && next.owner != block.owner);
    const int64_t bytes = bucket.numel() * static_cast<int64_t>(sizeof(float));
    if (!ends && bytes < sharding.bucket_bytes) continue;
    bucket.end = bucket.begin + round_up(bucket.numel(), ops::kSumBlock * group.num_shards);
    group.buckets.push_back(bucket);
    bucket.begin = bucket.end;
  }
  group.numel = bucket.end;
  return group;
}

// The ways in which blocks of a kind are updated, as the backward pass comes to them.
std::vector<ParameterSettings> different_settings(std::span<const BlockSize> blocks, bool matrices,
                                                  bool experts) {
  std::vector<ParameterSettings> different;
  for (size_t i = blocks.size(); i-- > 0;) {
    const BlockSize& block = blocks[i];
    if (block.is_matrix != matrices || block.is_expert != experts) continue;
    if (std::ranges::find(different, block.settings) == different.end()) different.push_back(block.settings);
  }
  return different;
}

}  // namespace

ParameterSettings settings_of_block(const ParameterBlock& block, std::span<const ParameterRule> rules) {
  const auto of = [&](const Parameter& p) {
    return settings_of(p.name, p.global_shape.rank(), p.expert >= 0, rules);
  };
  const ParameterSettings settings = of(block.members.front());
  for (const Parameter& p : block.members) {
    if (of(p) == settings) continue;
    throw_usage("{} and {} are stored in one matrix, so optimizer.rules must treat them alike",
                block.members.front().name, p.name);
  }
  return settings;
}

std::vector<FlatGroup> flat_layout(std::span<const BlockSize> blocks, const ShardingSpec& sharding) {
  std::vector<FlatGroup> groups;
  for (const auto& [matrices, experts] :
       {std::pair{true, false}, {true, true}, {false, false}, {false, true}}) {
    for (const ParameterSettings& settings : different_settings(blocks, matrices, experts))
      groups.push_back(lay_out(blocks, matrices, experts, settings, sharding));
  }
  return groups;
}

}  // namespace trireme
