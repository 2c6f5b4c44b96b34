// Batches: continued sequences first, prompts in chunks in their order, and who has to go when blocks run
// out.
#include "models/inference/scheduler.h"

#include <algorithm>

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

// Layers of which each sees a bounded number of keys: blocks that are asked about token by token.
TEST(CacheReach, KeepsWhatSomeLaterTokenSeesAndTheLastFullBlock) {
  const std::vector<std::vector<KeyLimits>> models{
      {{.window = 6}},
      {{.window = 3, .pattern = {.sinks = 5}}, {.window = 9}},
      {{.window = 1, .pattern = {.stride = 10, .stride_keys = 3}}},
      {{.window = 0, .pattern = {.block = 9, .summary = 2, .reach = 2}}},
      {{.window = 2, .pattern = {.num_globals = 2, .globals = {3, 21}}}, {.window = 5}}};
  constexpr int64_t kWidth = 4, kPlaces = 90;
  for (const auto& layers : models) {
    CacheReach reach(layers, kWidth);
    ASSERT_TRUE(reach.is_bounded());
    int64_t most = 0;
    for (int64_t next = 0; next <= kPlaces; ++next) {
      int64_t kept = 0;
      for (int64_t index = 0; index < next / kWidth; ++index) {
        bool is_seen = index + 1 == next / kWidth;
        for (int64_t i = next; i < next + 50 && !is_seen; ++i) {
          for (int64_t j = index * kWidth; j < (index + 1) * kWidth; ++j) {
            is_seen = is_seen || std::ranges::any_of(layers, [&](const KeyLimits& layer) {
                        return ops::sees(layer.pattern, layer.window, i, j);
                      });
          }
        }
        EXPECT_EQ(reach.is_over(index, next), !is_seen) << "block " << index << " of " << next;
        kept += is_seen ? 1 : 0;
      }
      if (next % kWidth == 0) most = std::max(most, kept);
      EXPECT_EQ(reach.most_kept(next), most);
    }
    EXPECT_LT(most, kPlaces / kWidth / 2);
  }
  for (const KeyLimits& layer :
       std::vector<KeyLimits>{{},
                              {.window = 3, .pattern = {.stride = 9}},
                              {.window = 3, .pattern = {.block = 9, .summary = 1}}}) {
    EXPECT_FALSE(CacheReach({{.window = 3}, layer}, kWidth).is_bounded());
  }
}

// Ten blocks for texts that have up to fifty.
TEST(Scheduler, GivesBackWhatNoLaterTokenSees) {
  const std::vector<KeyLimits> layers{{.window = 5, .pattern = {.sinks = 2}}, {.window = 9}};
  for (const bool reuses : {false, true}) {
    Queue queue(10, {.batch_tokens = 13, .sequences = 4, .reuses_prefixes = reuses}, layers);
    CacheReach reach(layers, Queue::kWidth);
    queue.add(150);
    queue.add(61, 100);
    queue.add(9, 200);
    queue.add(150);  // of the first one's prompt
    size_t left = 4;
    for (int passes = 0; left > 0; ++passes) {
      ASSERT_LT(passes, 1000);
      EXPECT_FALSE(queue.step().empty());
      int64_t held = 0;
      for (const auto& s : queue.sequences) {
        held += s->num_held();
        for (int64_t i = 0; i < std::ssize(s->blocks); ++i) {
          const int32_t block = s->blocks[static_cast<size_t>(i)];
          EXPECT_TRUE(block != kNoBlock || reach.is_over(i, s->computed)) << i << " of " << s->computed;
        }
        if (!s->blocks.empty() && s->num_tokens() >= 200) --left, queue.remove(s->number);
      }
      EXPECT_LE(queue.pool.num_blocks() - queue.pool.num_available(), held);
    }
    EXPECT_EQ(queue.pool.num_available(), 10);
    EXPECT_EQ(queue.scheduler.counts().prompt_tokens, 150 + 61 + 9 + 150);
  }
}

}  // namespace
}  // namespace trireme::test
