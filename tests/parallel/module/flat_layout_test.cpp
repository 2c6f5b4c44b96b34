#include "parallel/module/flat_layout.h"

#include <gtest/gtest.h>

#include "runtime/ops/elementwise.h"

namespace trireme {
namespace {

// Three layers: a matrix, one of experts, a vector.
std::vector<BlockSize> three_layers() {
  std::vector<BlockSize> blocks;
  for (int64_t layer = 0; layer < 3; ++layer) {
    blocks.push_back({.numel = 1500 + layer, .owner = layer});
    blocks.push_back({.numel = 700, .owner = layer, .is_expert = true});
    blocks.push_back({.numel = 10, .owner = layer, .is_matrix = false});
  }
  return blocks;
}

TEST(FlatLayout, TheLastBlockComesFirstAtWholeSumBlocks) {
  const auto groups = flat_layout(three_layers(), {});
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_TRUE(groups[0].matrices && !groups[0].experts);
  EXPECT_TRUE(groups[1].matrices && groups[1].experts);
  EXPECT_FALSE(groups[2].matrices);
  ASSERT_EQ(groups[0].places.size(), 3U);
  EXPECT_EQ(groups[0].places[0].block, 6U);
  EXPECT_EQ(groups[0].places[1].begin, 2 * ops::kSumBlock);
  EXPECT_EQ(groups[0].numel, 6 * ops::kSumBlock);
  EXPECT_EQ(groups[0].buckets.size(), 1U);
}

TEST(FlatLayout, BucketsCloseAtTheirBytesAndDivideByTheShards) {
  const auto groups = flat_layout(three_layers(), {.zero_stage = 1, .num_shards = 3, .bucket_bytes = 9000});
  ASSERT_EQ(groups[0].buckets.size(), 2U);
  EXPECT_EQ(groups[0].places[1].bucket, 0U) << "2 x 2048 elements are 16384 bytes";
  EXPECT_EQ(groups[0].buckets[0].numel(), 6 * ops::kSumBlock);
  EXPECT_EQ(groups[0].buckets[1].numel(), 3 * ops::kSumBlock);
  EXPECT_EQ(groups[0].shard_numel(), 3 * ops::kSumBlock);
  EXPECT_EQ(groups[1].num_shards, 1) << "experts have shards of their own";
}

TEST(FlatLayout, ShardedWeightsEndABucketWithTheirLayer) {
  const auto groups = flat_layout(three_layers(), {.zero_stage = 3, .num_shards = 2});
  EXPECT_TRUE(groups[0].shards_weights);
  EXPECT_EQ(groups[0].buckets.size(), 3U);
  EXPECT_FALSE(groups[2].shards_weights);
  EXPECT_EQ(groups[2].buckets.size(), 1U);
}

// Two ranks come to the same two shared layers in different orders, between others of their own.
TEST(FlatLayout, BucketsOfCopiesAreTheSameForAllHolders) {
  const auto layers = [](std::initializer_list<std::pair<int64_t, int>> numels_and_holders) {
    std::vector<BlockSize> blocks;
    for (const auto& [numel, holders] : numels_and_holders) {
      const auto owner = std::ssize(blocks) / 2;
      blocks.push_back({.numel = numel, .owner = owner, .holders = holders});
      blocks.push_back({.numel = numel + 2048, .owner = owner, .holders = holders});
    }
    return flat_layout(blocks, {.zero_stage = 1, .num_shards = 3, .bucket_bytes = 1 << 20})[0];
  };
  const FlatGroup a = layers({{1000, 0}, {3000, 1}, {5000, 1}, {7000, 0}}),
                  b = layers({{5000, 1}, {3000, 1}, {9000, 0}});
  ASSERT_EQ(a.buckets.size(), 4U);
  ASSERT_EQ(b.buckets.size(), 3U);
  const auto numels = [](const FlatGroup& group) {
    std::vector<int64_t> all;
    for (const FlatBucket& bucket : group.buckets) all.push_back(bucket.numel() / ops::kSumBlock);
    return all;
  };
  EXPECT_EQ(numels(a), (std::vector<int64_t>{18, 12, 9, 6}));
  EXPECT_EQ(numels(b), (std::vector<int64_t>{21, 9, 12}));
}

}  // namespace
}  // namespace trireme
