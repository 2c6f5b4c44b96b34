// Batches: continued sequences first, prompts in chunks in their order, and who has to go when blocks run
// out.
#include "models/inference/scheduler.h"

#include <memory>
#include <numeric>

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

constexpr int64_t kWidth = 4;

/// Sequences whose next token is their length, so that no two are alike.
struct Queue {
  Queue(int64_t num_blocks, const Scheduler::Limits& limits)
      : pool(num_blocks, kWidth), scheduler(pool, limits) {}

  Sequence& add(int64_t num_tokens, int32_t first = 0) {
    auto& s = *sequences.emplace_back(std::make_unique<Sequence>());
    s.number = std::ssize(sequences) - 1;
    s.tokens.resize(static_cast<size_t>(num_tokens));
    std::iota(s.tokens.begin(), s.tokens.end(), first);
    scheduler.add(s);
    return s;
  }
  /// {sequence, tokens} of the next batch, which is then run: sequences in it that are computed get a token.
  std::vector<std::pair<int64_t, int64_t>> step() {
    std::vector<std::pair<int64_t, int64_t>> out;
    for (const ScheduledChunk& chunk : scheduler.next()) {
      Sequence& s = *chunk.sequence;
      out.emplace_back(s.number, chunk.num_tokens);
      EXPECT_EQ(chunk.is_last, s.computed + chunk.num_tokens == s.num_tokens());
      EXPECT_GE(std::ssize(s.blocks) * kWidth, s.computed + chunk.num_tokens);
      scheduler.advance(chunk);
      if (chunk.is_last) s.tokens.push_back(static_cast<int32_t>(1000 * s.number + s.num_tokens()));
    }
    return out;
  }

  CacheBlockPool pool;
  Scheduler scheduler;
  std::vector<std::unique_ptr<Sequence>> sequences;
};

using Batch = std::vector<std::pair<int64_t, int64_t>>;

TEST(Scheduler, CutsPromptsAndContinuesSequencesFirst) {
  Queue queue(100, {.batch_tokens = 6, .sequences = 3});
  queue.add(4);
  queue.add(7, 100);
  queue.add(2, 200);
  queue.add(1, 300);
  EXPECT_EQ(queue.step(), (Batch{{0, 4}, {1, 2}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 5}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 2}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 1}}));  // three run
  queue.scheduler.remove(*queue.sequences[1]);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {2, 1}, {3, 1}}));
  for (const auto& s : queue.sequences) queue.scheduler.remove(*s);
  EXPECT_EQ(queue.step(), Batch());
  EXPECT_EQ(queue.pool.num_available(), 100);
  EXPECT_EQ(queue.scheduler.counts().prompt_tokens, 14);
}

TEST(Scheduler, HasATokenOfEachSequenceHoweverSmallTheBatch) {
  Queue queue(100, {.batch_tokens = 2, .sequences = 64});
  for (int32_t i = 0; i < 3; ++i) queue.add(2, 100 * i);
  EXPECT_EQ(queue.step(), (Batch{{0, 2}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));
  queue.scheduler.remove(*queue.sequences[0]);
  EXPECT_EQ(queue.step(), (Batch{{1, 1}, {2, 1}}));
}

TEST(Scheduler, TheNewestGivesItsBlocksBackAndBeginsAgain) {
  Queue queue(6, {.batch_tokens = 64, .sequences = 8, .reuses_prefixes = false});
  queue.add(7);
  queue.add(7, 100);
  EXPECT_EQ(queue.step(), (Batch{{0, 7}, {1, 7}}));                              // two blocks each
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));                              // the eighth
  for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));  // three each
  EXPECT_EQ(queue.pool.num_available(), 0);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}}));
  EXPECT_EQ(queue.scheduler.counts().preemptions, 1);
  EXPECT_EQ(queue.sequences[1]->computed, 0);
  EXPECT_TRUE(queue.sequences[1]->blocks.empty());
  EXPECT_EQ(queue.pool.num_available(), 2);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}}));  // there is no room for its 13 tokens
  queue.scheduler.remove(*queue.sequences[0]);
  EXPECT_EQ(queue.step(), (Batch{{1, 13}}));
  EXPECT_EQ(queue.scheduler.counts().prompt_tokens, 14);  // counted once
}

TEST(Scheduler, ASequenceThatIsTheNewestItselfGoes) {
  Queue queue(4, {.batch_tokens = 64, .sequences = 8, .reuses_prefixes = false});
  queue.add(5);
  queue.add(4, 100);
  EXPECT_EQ(queue.step(), (Batch{{0, 5}, {1, 4}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}}));  // the last block
  queue.sequences[0]->tokens.resize(6);
  for (int i = 0; i < 3; ++i) {
    queue.step();
    queue.sequences[0]->tokens.resize(6);  // stays in its two blocks
    queue.sequences[0]->computed = 5;
  }
  EXPECT_EQ(queue.sequences[1]->computed, 8);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}}));
  EXPECT_EQ(queue.scheduler.counts().preemptions, 1);
  EXPECT_EQ(queue.pool.num_available(), 2);
}

TEST(Scheduler, ReusesPrefixesButNeverTheLastToken) {
  Queue queue(32, {.batch_tokens = 64, .sequences = 8});
  queue.add(8);
  EXPECT_EQ(queue.step(), (Batch{{0, 8}}));
  queue.add(8);
  queue.add(9);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 4}, {2, 1}}));
  EXPECT_EQ(queue.sequences[1]->blocks[0], queue.sequences[0]->blocks[0]);
  EXPECT_NE(queue.sequences[1]->blocks[1], queue.sequences[0]->blocks[1]);
  EXPECT_EQ(queue.sequences[2]->blocks[1], queue.sequences[0]->blocks[1]);
  EXPECT_EQ(queue.scheduler.counts().reused_tokens, 12);
  // Also of sequences that are gone, and of what was drawn.
  for (int i = 0; i < 8; ++i) queue.step();
  const std::vector<int32_t> tokens = queue.sequences[0]->tokens;
  for (const auto& s : queue.sequences) queue.scheduler.remove(*s);
  queue.add(0).tokens = {tokens.begin(), tokens.begin() + 14};
  EXPECT_EQ(queue.step(), (Batch{{3, 2}}));
  EXPECT_EQ(queue.pool.num_available(), 28);
}

TEST(Scheduler, FindsItsOwnBlocksAfterItHadToGo) {
  Queue queue(6, {.batch_tokens = 64, .sequences = 8});
  queue.add(7);
  queue.add(7, 100);
  for (int i = 0; i < 7; ++i) queue.step();
  EXPECT_EQ(queue.scheduler.counts().preemptions, 1);
  queue.scheduler.remove(*queue.sequences[0]);
  EXPECT_EQ(queue.step(), (Batch{{1, 5}}));  // of 13 tokens the last 5: one block was taken
  EXPECT_EQ(queue.scheduler.counts().reused_tokens, 0);
}

}  // namespace
}  // namespace trireme::test
