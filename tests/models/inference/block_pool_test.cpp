// Blocks are counted, found again by their tokens, and taken least recently used first.
#include "models/inference/block_pool.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

constexpr int64_t kWidth = 4;

std::vector<int32_t> counting(int32_t from, int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

// Takes and remembers blocks with these tokens, after those before it.
std::vector<int32_t> fill(CacheBlockPool& pool, std::span<const int32_t> tokens) {
  std::vector<int32_t> blocks;
  for (size_t at = 0; at + kWidth <= tokens.size(); at += kWidth) {
    const int32_t parent = blocks.empty() ? -1 : blocks.back();
    blocks.push_back(*pool.take());
    pool.remember(blocks.back(), parent, tokens.subspan(at, kWidth));
  }
  return blocks;
}

void release(CacheBlockPool& pool, const std::vector<int32_t>& blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool.release(*block);
}

TEST(CacheBlockPool, GivesEachBlockOnceUntilNoneIsLeft) {
  CacheBlockPool pool(3, kWidth);
  EXPECT_EQ(pool.num_available(), 3);
  std::vector<int32_t> taken;
  for (int i = 0; i < 3; ++i) taken.push_back(*pool.take());
  std::ranges::sort(taken);
  EXPECT_EQ(taken, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.num_available(), 0);
  EXPECT_FALSE(pool.take());
  pool.release(1);
  EXPECT_EQ(pool.num_available(), 1);
  EXPECT_EQ(pool.take(), 1);
}

TEST(CacheBlockPool, CountsUsers) {
  CacheBlockPool pool(2, kWidth);
  const int32_t block = *pool.take();
  pool.share(block);
  EXPECT_EQ(pool.num_users(block), 2);
  pool.release(block);
  EXPECT_EQ(pool.num_available(), 1);
  pool.release(block);
  EXPECT_EQ(pool.num_available(), 2);
  EXPECT_THROW(pool.release(block), InternalError);
  EXPECT_THROW(pool.share(block), InternalError);
  EXPECT_THROW(pool.share(2), InternalError);
  EXPECT_THROW(pool.release(-1), InternalError);
}

TEST(CacheBlockPool, FindsTheLongestRowOfFullBlocks) {
  CacheBlockPool pool(8, kWidth);
  const auto tokens = counting(0, 12);
  const auto blocks = fill(pool, tokens);
  const std::span all(tokens);
  EXPECT_EQ(pool.find(all), blocks);
  EXPECT_EQ(pool.num_users(blocks[2]), 2);
  EXPECT_EQ(pool.find(all.first(11)), (std::vector{blocks[0], blocks[1]}));
  EXPECT_TRUE(pool.find(all.first(3)).empty());
  // The same tokens elsewhere are not the same.
  EXPECT_TRUE(pool.find(all.subspan(4)).empty());
  auto other = tokens;
  other[5] = 99;
  EXPECT_EQ(pool.find(other), (std::vector{blocks[0]}));
  EXPECT_EQ(pool.num_users(blocks[0]), 4);
}

TEST(CacheBlockPool, KeepsBlocksThatNobodyUsesUntilTheyAreTaken) {
  CacheBlockPool pool(4, kWidth);
  const auto tokens = counting(0, 8), others = counting(50, 8);
  const auto blocks = fill(pool, tokens);
  release(pool, blocks);
  EXPECT_EQ(pool.num_available(), 4);
  EXPECT_EQ(pool.find(tokens), blocks);
  EXPECT_EQ(pool.num_available(), 2);
  release(pool, blocks);
  // First the two that hold nothing, then the end of the row, then its beginning.
  const auto more = fill(pool, others);
  EXPECT_EQ(pool.find(tokens), blocks);
  release(pool, blocks);
  EXPECT_EQ(pool.take(), blocks[1]);
  EXPECT_EQ(pool.find(tokens), (std::vector{blocks[0]}));
  pool.release(blocks[0]);
  EXPECT_EQ(pool.take(), blocks[0]);
  EXPECT_TRUE(pool.find(tokens).empty());
  EXPECT_FALSE(pool.take());
  EXPECT_EQ(pool.find(others), more);
}

TEST(CacheBlockPool, TakesTheLeastRecentlyUsedFirst) {
  CacheBlockPool pool(3, kWidth);
  std::vector<std::vector<int32_t>> blocks;
  for (int32_t i = 0; i < 3; ++i) blocks.push_back(fill(pool, counting(10 * i, kWidth)));
  for (const auto& row : blocks) release(pool, row);
  release(pool, pool.find(counting(0, kWidth)));  // used again
  EXPECT_EQ(pool.take(), blocks[1][0]);
  EXPECT_EQ(pool.take(), blocks[2][0]);
  EXPECT_EQ(pool.take(), blocks[0][0]);
}

TEST(CacheBlockPool, OfEqualBlocksTheFirstIsFound) {
  CacheBlockPool pool(5, kWidth);
  const auto tokens = counting(0, 8);
  const auto first = fill(pool, tokens), second = fill(pool, std::span(tokens).first(kWidth));
  EXPECT_EQ(pool.find(std::span(tokens).first(kWidth)), (std::vector{first[0]}));
  // A row that goes on behind the copy is found behind the original.
  const int32_t next = *pool.take();
  const auto more = counting(90, kWidth);
  pool.remember(next, second[0], more);
  auto both = counting(0, kWidth);
  both.insert(both.end(), more.begin(), more.end());
  EXPECT_EQ(pool.find(both), (std::vector{first[0], next}));
  // Nothing is lost with the copy, and it is the first to go.
  pool.release(second[0]);
  EXPECT_EQ(pool.take(), second[0]);
  EXPECT_EQ(pool.find(tokens), first);
}

TEST(CacheBlockPool, RefusesBlocksThatAreNotFull) {
  CacheBlockPool pool(2, kWidth);
  const int32_t block = *pool.take();
  EXPECT_THROW(pool.remember(block, -1, counting(0, kWidth - 1)), InternalError);
  EXPECT_THROW(pool.remember(1 - block, -1, counting(0, kWidth)), InternalError);
  EXPECT_THROW(CacheBlockPool(0, kWidth), InternalError);
}

}  // namespace
}  // namespace trireme::test
