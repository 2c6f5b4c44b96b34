// Prompts that begin alike are computed once, also within one pass; logits that are asked for, and drafts.
#include "models/inference/scheduler.h"
#include "tests/models/inference/sequence_queue.h"

namespace trireme::test {
namespace {

using Queue = SequenceQueue;

TEST(SchedulerSharing, SamplesOfOnePromptWaitForItsBlocks) {
  Queue queue(100, {.batch_tokens = 6, .sequences = 8});
  for (int i = 0; i < 3; ++i) queue.add(9);
  queue.add(5, 500);
  EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 3}, {3, 3}}));  // who waits for them lets others go first
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 1}, {3, 2}}));
  EXPECT_EQ(queue.sequences[2]->blocks[1], queue.sequences[0]->blocks[1]);
  EXPECT_EQ(queue.scheduler.counts().reused_tokens, 16);
}

TEST(SchedulerSharing, ThoseThatPartGoTheirOwnWaysAtOnce) {
  Queue queue(100, {.batch_tokens = 64, .sequences = 8});
  queue.add(12);
  Sequence& other = queue.add(12);
  other.tokens[5] = 77;  // the first block is common
  queue.add(4);          // a block whose last token it has to compute itself
  EXPECT_EQ(queue.step(), (Batch{{0, 12}, {2, 4}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {2, 1}, {1, 8}}));
}

TEST(SchedulerSharing, WhoWaitsGoesOnWithoutTheOther) {
  for (const bool is_cancelled : {true, false}) {
    Queue queue(12, {.batch_tokens = 6, .sequences = 8});
    queue.add(20);
    queue.add(20);
    EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
    EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
    if (is_cancelled) {
      queue.remove(0);
      EXPECT_EQ(queue.step(), (Batch{{1, 6}}));  // 12 of its tokens are there
      EXPECT_EQ(queue.sequences[1]->computed, 18);
    } else {
      queue.remove(1);
      EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
    }
  }
}

// It would wait for what nobody hurries for.
TEST(SchedulerSharing, NobodyWaitsForThoseBehind) {
  Queue queue(100, {.batch_tokens = 4, .sequences = 8});
  queue.add(20, 0, 1);
  EXPECT_EQ(queue.step(), (Batch{{0, 4}}));
  queue.add(20, 0, 0);
  EXPECT_EQ(queue.step(), (Batch{{1, 4}}));
  EXPECT_EQ(queue.sequences[1]->computed, 8);
  EXPECT_EQ(queue.scheduler.counts().reused_tokens, 4);
}

TEST(SchedulerSharing, WithoutReuseNobodyWaits) {
  Queue queue(100, {.batch_tokens = 64, .sequences = 8, .reuses_prefixes = false});
  queue.add(8);
  queue.add(9);
  EXPECT_EQ(queue.step(), (Batch{{0, 8}, {1, 9}}));
}

TEST(SchedulerScores, LogitsOfABatchAreBounded) {
  Queue queue(100, {.batch_tokens = 64, .sequences = 8, .logit_rows = 12});
  queue.add(8);
  EXPECT_EQ(queue.step(), (Batch{{0, 8}}));
  queue.add(40).scores_end = 39;  // finds nothing: all its logits are asked for
  queue.add(20, 700);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 11}, {2, 20}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {2, 1}, {1, 10}}));
  queue.remove(0);
  queue.remove(2);
  EXPECT_EQ(queue.step(), (Batch{{1, 12}}));
  EXPECT_EQ(queue.step(), (Batch{{1, 7}}));
  EXPECT_EQ(queue.scheduler.counts().reused_tokens, 0);
  queue.remove(1);
  queue.add(40, 0);  // its blocks are found by others
  EXPECT_EQ(queue.step(), (Batch{{3, 4}}));
}

TEST(SchedulerScores, HaveTheirPartHoweverManyTextsThereAre) {
  Queue queue(100, {.batch_tokens = 64, .sequences = 10, .logit_rows = 8});
  for (int32_t i = 0; i < 9; ++i) queue.add(2, 100 * i);
  queue.step();
  queue.add(6, 1000).scores_end = 5;
  EXPECT_EQ(queue.step().back(), std::pair(int64_t{9}, int64_t{2}));
  EXPECT_EQ(queue.step().back(), std::pair(int64_t{9}, int64_t{2}));
}

TEST(SchedulerScores, WhatIsScoredIsNotScoredAgain) {
  Queue queue(9, {.batch_tokens = 64, .sequences = 8, .logit_rows = 6});
  Sequence& scored = queue.add(24, 0, 1);
  scored.scores_end = 23;
  EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 6}}));
  scored.scores_begin = 10;  // as if two had not been told
  queue.scheduler.remove(scored);
  Sequence& other = queue.add(5, 100, 0);
  queue.scheduler.add(scored);
  const std::span<const ScheduledChunk> batch = queue.scheduler.next();
  ASSERT_GE(batch.size(), 2U);
  EXPECT_EQ(batch[0].sequence, &other);
  EXPECT_EQ(batch[1].sequence, &scored);
  EXPECT_EQ(scored.computed, 8);
  EXPECT_EQ(batch[1].num_tokens, 2 + 5);  // five rows of logits beside the other's
  EXPECT_EQ(batch[1].num_logits, 5);
  EXPECT_FALSE(batch[1].is_last);
}

TEST(SchedulerDrafts, TakeWhatRoomIsLeft) {
  Queue queue(8, {.batch_tokens = 8, .sequences = 8});
  for (int32_t i = 0; i < 2; ++i) queue.add(2, 100 * i);
  queue.step();
  const auto chunks = [&](size_t first, size_t second) {
    queue.sequences[0]->drafts.assign(first, 7);
    queue.sequences[1]->drafts.assign(second, 8);
    Batch out;
    for (const ScheduledChunk& chunk : queue.scheduler.next()) {
      EXPECT_EQ(chunk.num_logits, chunk.is_last ? 1 + chunk.num_drafts : 0);
      EXPECT_GE(std::ssize(chunk.sequence->blocks) * Queue::kWidth,
                chunk.sequence->num_tokens() + chunk.num_drafts);
      out.emplace_back(chunk.num_tokens, chunk.num_drafts);
    }
    return out;
  };
  EXPECT_EQ(chunks(3, 2), (Batch{{1, 3}, {1, 2}}));
  EXPECT_EQ(chunks(5, 5), (Batch{{1, 5}, {1, 1}}));
  EXPECT_EQ(chunks(0, 0), (Batch{{1, 0}, {1, 0}}));
  EXPECT_EQ(queue.pool.num_available(), 4);
  queue.add(3, 500);  // prompts do not wait for them
  EXPECT_EQ(chunks(5, 5), (Batch{{1, 0}, {1, 0}, {3, 0}}));
  queue.remove(2);
  queue.add(20, 600);  // has to wait: of 4 blocks two are for those that run
  EXPECT_EQ(chunks(5, 5), (Batch{{1, 5}, {1, 1}}));
}

TEST(SchedulerDrafts, PushNobodyOut) {
  Queue queue(3, {.batch_tokens = 64, .sequences = 8});
  for (int32_t i = 0; i < 2; ++i) queue.add(2, 100 * i);
  queue.step();
  for (const auto& s : queue.sequences) s->drafts.assign(9, 5);
  for (const ScheduledChunk& chunk : queue.scheduler.next())
    EXPECT_EQ(chunk.num_drafts, 1);  // within its block: the last one may be needed
  EXPECT_EQ(queue.pool.num_available(), 1);
}

TEST(SchedulerDrafts, GiveBackTheBlockThatTheyWereWrongIn) {
  Queue queue(8, {.batch_tokens = 64, .sequences = 8});
  Sequence& s = queue.add(4);
  queue.step();
  s.drafts.assign(6, 5);
  const auto batch = queue.scheduler.next();
  ASSERT_EQ(batch.front().num_drafts, 6);  // of 5 tokens and these, three blocks
  EXPECT_EQ(queue.pool.num_available(), 5);
  s.tokens.push_back(7);
  queue.scheduler.advance(s, 1);
  EXPECT_EQ(queue.pool.num_available(), 6);
  EXPECT_EQ(s.blocks.size(), 2U);
}

}  // namespace
}  // namespace trireme::test
