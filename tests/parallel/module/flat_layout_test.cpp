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

}  // namespace
}  // namespace trireme
