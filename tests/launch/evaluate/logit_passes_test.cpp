#include "launch/evaluate/logit_passes.h"

#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

std::vector<int32_t> counted_from(int32_t first, int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(first + static_cast<int32_t>(i));
  return tokens;
}

PassLimits small_limits(int64_t max_tokens, int64_t num_blocks) {
  PassLimits limits;
  limits.max_tokens = max_tokens;
  limits.cache = {.num_blocks = num_blocks, .block_tokens = 16};
  return limits;
}

/// What the cache would hold: the token at each place of each block.
class Cache {
 public:
  explicit Cache(int64_t block_tokens) : block_tokens_(block_tokens) {}

  void run(const LogitPass& pass, std::span<const KnownSequence> sequences) {
    for (const PassChunk& chunk : pass.chunks) {
      const auto& tokens = sequences[static_cast<size_t>(chunk.sequence)].tokens;
      for (int64_t place = chunk.start; place < chunk.start + chunk.count; ++place)
        at(chunk, place) = tokens[static_cast<size_t>(place)];
    }
    for (const PassChunk& chunk : pass.chunks) {
      const auto& tokens = sequences[static_cast<size_t>(chunk.sequence)].tokens;
      for (int64_t place = 0; place < chunk.start + chunk.count; ++place)
        ASSERT_EQ(at(chunk, place), tokens[static_cast<size_t>(place)]) << "sequence " << chunk.sequence;
    }
  }

 private:
  int32_t& at(const PassChunk& chunk, int64_t place) {
    const int32_t block = chunk.blocks[static_cast<size_t>(place / block_tokens_)];
    return tokens_[{block, place % block_tokens_}];
  }

  int64_t block_tokens_;
  std::map<std::pair<int32_t, int64_t>, int32_t> tokens_;
};

TEST(LogitPasses, EveryLogitComesOnceWithTheTokensBeforeItInTheCache) {
  std::mt19937 draw(5);
  for (int trial = 0; trial < 60; ++trial) {
    const PassLimits limits =
        small_limits(1 + static_cast<int64_t>(draw() % 40), 8 + static_cast<int64_t>(draw() % 8));
    std::vector<KnownSequence> sequences;
    int64_t parent = -1;
    for (int i = 0; i < 12; ++i) {
      const auto length = static_cast<int64_t>(1 + draw() % 120);
      KnownSequence sequence{.tokens = counted_from(0, length)};
      if (draw() % 3 == 0) parent = -1;
      sequence.begins_as = parent;
      if (draw() % 2 == 0) sequence.tokens[draw() % static_cast<uint32_t>(length)] = 1000 + i;
      sequence.first_logit = static_cast<int64_t>(draw() % static_cast<uint32_t>(length));
      sequences.push_back(std::move(sequence));
      if (parent < 0) parent = i;
    }
    Cache cache(limits.cache.block_tokens);
    std::vector<int64_t> given(sequences.size(), 0);
    for (const LogitPass& pass : plan_passes(sequences, limits)) {
      int64_t tokens = 0;
      for (const PassChunk& chunk : pass.chunks) {
        tokens += chunk.count;
        given[static_cast<size_t>(chunk.sequence)] += chunk.num_logits;
        for (const int32_t block : chunk.blocks) ASSERT_LT(block, limits.cache.num_blocks);
      }
      ASSERT_LE(tokens, limits.max_tokens);
      cache.run(pass, sequences);
    }
    for (size_t i = 0; i < sequences.size(); ++i) EXPECT_EQ(given[i], sequences[i].num_logits());
  }
}

TEST(LogitPasses, WhatSequencesBeginWithGoesThroughOnce) {
  std::vector<KnownSequence> sequences;
  for (int i = 0; i < 4; ++i) {
    KnownSequence sequence{.tokens = counted_from(0, 40), .first_logit = 35, .begins_as = i == 0 ? -1 : 0};
    sequence.tokens.back() = i;
    sequences.push_back(sequence);
  }
  const auto passes = plan_passes(sequences, small_limits(1000, 64));
  ASSERT_EQ(passes.size(), 1U);
  EXPECT_EQ(passes[0].chunks[0].start, 0);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(passes[0].chunks[static_cast<size_t>(i)].start, 32);  // two whole blocks of 16
    EXPECT_EQ(passes[0].chunks[static_cast<size_t>(i)].blocks[1], passes[0].chunks[0].blocks[1]);
    EXPECT_NE(passes[0].chunks[static_cast<size_t>(i)].blocks[2], passes[0].chunks[0].blocks[2]);
  }
  EXPECT_EQ(passes[0].num_logits(), 4 * 5);
}

TEST(LogitPasses, ASequenceLongerThanTheCacheIsADefect) {
  const std::vector<KnownSequence> sequences = {{.tokens = counted_from(0, 33)}};
  EXPECT_THROW(plan_passes(sequences, small_limits(8, 2)), InternalError);
  EXPECT_EQ(plan_passes(sequences, small_limits(8, 3)).size(), 5U);
}

TEST(LogitPasses, LargeVocabulariesHaveFewerTokensAtOnce) {
  EXPECT_EQ(pass_limits(100, 1000, 512, ops::CacheType::plain).max_tokens, 512);
  EXPECT_EQ(pass_limits(100, 1000, 64, ops::CacheType::plain).max_tokens, 64);
  EXPECT_EQ(pass_limits(100, 262144, 512, ops::CacheType::plain).max_tokens, 256);
  const PassLimits limits = pass_limits(5000, 1000, 512, ops::CacheType::int8);
  EXPECT_GE(limits.cache.num_blocks * limits.cache.block_tokens, 5000);
  EXPECT_EQ(limits.cache.type, ops::CacheType::int8);
}

}  // namespace
}  // namespace trireme::launch
