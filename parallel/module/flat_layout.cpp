#include "parallel/module/flat_layout.h"

#include <utility>

#include "runtime/base/integers.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

FlatGroup lay_out(std::span<const BlockSize> blocks, bool matrices, bool experts,
                  const ShardingSpec& sharding) {
  FlatGroup group{.matrices = matrices,
                  .experts = experts,
                  .shards_weights = sharding.zero_stage >= 3 && matrices,
                  .num_shards = experts ? sharding.num_expert_shards : sharding.num_shards,
                  .shard = experts ? sharding.expert_shard : sharding.shard,
                  .places = {},
                  .buckets = {}};
  for (size_t i = blocks.size(); i-- > 0;) {
    if (blocks[i].is_matrix == matrices && blocks[i].is_expert == experts)
      group.places.push_back({.block = i, .begin = 0});
  }
  FlatBucket bucket;
  for (size_t i = 0; i < group.places.size(); ++i) {
    auto& place = group.places[i];
    place.begin = bucket.end;
    place.bucket = group.buckets.size();
    bucket.end += round_up(blocks[place.block].numel, ops::kSumBlock);
    const bool last = i + 1 == group.places.size();
    const bool layer_ends = !last && blocks[group.places[i + 1].block].owner != blocks[place.block].owner;
    const int64_t bytes = bucket.numel() * static_cast<int64_t>(sizeof(float));
    if (!last && !(group.shards_weights && layer_ends) && bytes < sharding.bucket_bytes) continue;
    bucket.end = bucket.begin + round_up(bucket.numel(), ops::kSumBlock * group.num_shards);
    group.buckets.push_back(bucket);
    bucket.begin = bucket.end;
  }
  group.numel = bucket.end;
  return group;
}

}  // namespace

std::vector<FlatGroup> flat_layout(std::span<const BlockSize> blocks, const ShardingSpec& sharding) {
  std::vector<FlatGroup> groups;
  for (const auto& [matrices, experts] : {std::pair{true, false}, {true, true}, {false, false}}) {
    FlatGroup group = lay_out(blocks, matrices, experts, sharding);
    if (!group.places.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace trireme
