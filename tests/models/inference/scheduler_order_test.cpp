// Who comes first: by priority, then arrival; waiting counts; nobody who runs misses a pass for prompts.
#include <algorithm>
#include <limits>

#include "models/inference/scheduler.h"
#include "runtime/base/philox.h"
#include "tests/models/inference/sequence_queue.h"

namespace trireme::test {
namespace {

using Queue = SequenceQueue;

TEST(SchedulerOrder, IsPriorityThenArrival) {
  Queue queue(100, {.batch_tokens = 6, .sequences = 8});
  queue.add(4, 0, 1);
  queue.add(4, 100, -1);
  queue.add(4, 200, 0);
  queue.add(4, 300, -1);
  EXPECT_EQ(queue.step(), (Batch{{1, 4}, {3, 2}}));
  EXPECT_EQ(queue.step(), (Batch{{1, 1}, {3, 2}, {2, 3}}));
  EXPECT_EQ(queue.step(), (Batch{{1, 1}, {3, 1}, {2, 1}, {0, 3}}));
}

TEST(SchedulerOrder, PromptsThatHaveBegunAreOvertakenToo) {
  Queue queue(100, {.batch_tokens = 4, .sequences = 8});
  queue.add(20, 0, 1);
  EXPECT_EQ(queue.step(), (Batch{{0, 4}}));
  queue.add(6, 100, 0);
  EXPECT_EQ(queue.step(), (Batch{{1, 4}}));
  EXPECT_EQ(queue.step(), (Batch{{1, 2}, {0, 2}}));
  EXPECT_EQ(queue.step(), (Batch{{1, 1}, {0, 3}}));
}

TEST(SchedulerOrder, PromptsBesideTextsAreBounded) {
  Queue queue(100, {.batch_tokens = 10, .sequences = 8});
  queue.scheduler.limit_prompts(3);
  queue.add(12, 0);
  EXPECT_EQ(queue.step(), (Batch{{0, 10}}));  // nobody waits
  queue.add(8, 100);
  EXPECT_EQ(queue.step(), (Batch{{0, 2}, {1, 8}}));
  queue.add(7, 200);
  queue.add(2, 300);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 3}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 3}}));
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 1}, {3, 2}}));
  queue.scheduler.limit_prompts(0);
  queue.add(2, 400);
  EXPECT_EQ(queue.step(), (Batch{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}));
}

// One runs at a time, and in each pass another of the first priority comes.
int64_t passes_until_the_last_begins(int64_t passes_per_priority) {
  Queue queue(100, {.batch_tokens = 8, .sequences = 1, .passes_per_priority = passes_per_priority});
  const Sequence& last = queue.add(1, 0, 2);
  for (int64_t pass = 0; pass < 100; ++pass) {
    queue.add(1, 50, 0);
    for (const auto& [number, count] : queue.step()) queue.remove(number);
    if (last.has_run) return pass;
  }
  return 100;
}

TEST(SchedulerOrder, WaitingCounts) {
  EXPECT_EQ(passes_until_the_last_begins(3), 2 * 3 + 1);
  EXPECT_EQ(passes_until_the_last_begins(7), 2 * 7 + 1);
  EXPECT_EQ(passes_until_the_last_begins(1000), 100);
}

TEST(SchedulerOrder, HasRoomForAnyPriority) {
  using Limit = std::numeric_limits<int64_t>;
  Queue queue(100, {.batch_tokens = 2, .sequences = 1});
  const std::vector<int64_t> priorities{Limit::max(), 0, Limit::min(), Limit::max() - 1, Limit::min() + 1};
  for (const int64_t priority : priorities) queue.add(1, 10 * static_cast<int32_t>(priority % 7), priority);
  std::vector<int64_t> order;
  for (size_t i = 0; i < priorities.size(); ++i) {
    order.push_back(queue.step().at(0).first);
    queue.remove(order.back());
  }
  EXPECT_EQ(order, (std::vector<int64_t>{2, 4, 1, 3, 0}));
}

TEST(SchedulerOrder, TheLastPriorityGivesItsBlocksBackHoweverOldItIs) {
  Queue queue(6, {.batch_tokens = 64, .sequences = 8, .reuses_prefixes = false});
  queue.add(7, 0, 1);
  queue.add(7, 100, 0);
  EXPECT_EQ(queue.step(), (Batch{{1, 7}, {0, 7}}));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(queue.step(), (Batch{{1, 1}, {0, 1}}));
  EXPECT_TRUE(queue.scheduler.preempted().empty());
  EXPECT_EQ(queue.step(), (Batch{{1, 1}}));
  ASSERT_EQ(queue.scheduler.preempted().size(), 1U);
  EXPECT_EQ(queue.scheduler.preempted()[0].sequence, queue.sequences[0].get());
  EXPECT_EQ(queue.scheduler.preempted()[0].num_tokens, 12);
  queue.remove(1);
  EXPECT_EQ(queue.step(), (Batch{{0, 13}}));
  EXPECT_TRUE(queue.scheduler.begun().empty());  // it had begun
}

// A prompt takes what is free, and nothing of those that run, whatever its priority.
TEST(SchedulerOrder, NobodyGoesForAPrompt) {
  Queue queue(6, {.batch_tokens = 64, .sequences = 8, .reuses_prefixes = false});
  queue.add(14, 0, 5);
  EXPECT_EQ(queue.step(), (Batch{{0, 14}}));
  queue.add(9, 100, -5);  // three blocks: one each would be needed
  queue.add(4, 200, -4);  // fits, but is behind the other one
  for (int i = 0; i < 8; ++i) EXPECT_EQ(queue.step(), (Batch{{0, 1}}));
  queue.remove(0);
  EXPECT_EQ(queue.step(), (Batch{{1, 9}, {2, 4}}));
}

// Sequences come at random, with all priorities; some begin alike, some are given up.
class SchedulerAtRandom : public testing::TestWithParam<uint64_t> {};

TEST_P(SchedulerAtRandom, AllAdvanceAndNothingIsLost) {
  const auto draw = [&](uint64_t what, uint64_t i, int64_t below) {
    return static_cast<int64_t>(philox4x32(GetParam(), i, what)[0] % static_cast<uint64_t>(below));
  };
  const Scheduler::Limits limits{.batch_tokens = 5 + draw(0, 0, 20),
                                 .sequences = 1 + draw(0, 1, 9),
                                 .reuses_prefixes = draw(0, 2, 3) > 0,
                                 .passes_per_priority = 1 + draw(0, 3, 20),
                                 .logit_rows = 1 + draw(0, 4, 9)};
  Queue queue(16 + draw(0, 5, 10), limits);
  std::vector<size_t> lengths;
  std::vector<const Sequence*> decoding;
  int64_t num_ended = 0;
  uint64_t pass = 0;
  for (; num_ended < 60 && pass < 20'000; ++pass) {
    if (lengths.size() < 60 && draw(1, pass, 2) == 0) {
      Sequence& s =
          queue.add(1 + draw(2, pass, 30), static_cast<int32_t>(100 * draw(3, pass, 3)), draw(4, pass, 4));
      if (draw(5, pass, 4) == 0) s.scores_end = s.num_tokens() - 1;
      lengths.push_back(s.tokens.size() + 1 + static_cast<size_t>(draw(6, pass, 30)));
    }
    decoding.clear();
    for (const Sequence* s : queue.scheduler.running()) {
      if (s->is_decoding()) decoding.push_back(s);
    }
    const Batch batch = queue.step();
    int64_t num_tokens = 0;
    for (const auto& [number, count] : batch) {
      ASSERT_GT(count, 0);
      num_tokens += count;
    }
    ASSERT_LE(num_tokens, limits.batch_tokens);
    ASSERT_LE(std::ssize(queue.scheduler.running()), limits.sequences);
    for (const Sequence* s : decoding) {
      const bool had_to_go =
          std::ranges::any_of(queue.scheduler.preempted(), [&](const auto& e) { return e.sequence == s; });
      ASSERT_TRUE(had_to_go || std::ranges::count(batch, std::pair(s->number, int64_t{1})) == 1);
    }
    for (size_t i = 0; i < lengths.size(); ++i) {
      Sequence& s = *queue.sequences[i];
      if (lengths[i] == 0 || (s.tokens.size() < lengths[i] && draw(7 + i, pass, 200) > 0)) continue;
      lengths[i] = 0;
      queue.scheduler.remove(s);
      ++num_ended;
    }
  }
  EXPECT_EQ(num_ended, 60) << "after " << pass << " passes";
  EXPECT_EQ(queue.pool.num_available(), queue.pool.num_blocks());
  EXPECT_EQ(queue.scheduler.num_waiting(), 0);
  EXPECT_TRUE(queue.scheduler.running().empty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerAtRandom, testing::Range(uint64_t{0}, uint64_t{40}));

}  // namespace
}  // namespace trireme::test
