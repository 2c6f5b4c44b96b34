// Batches: continued sequences first, prompts in chunks in their order, and who has to go when blocks run
// out.
#include "models/inference/scheduler.h"

#include "tests/models/inference/sequence_queue.h"

namespace trireme::test {
namespace {

using Queue = SequenceQueue;

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
