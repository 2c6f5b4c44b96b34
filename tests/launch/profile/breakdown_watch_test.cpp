// Clocks of steps and the exchange of waits, with ranks as threads that sleep instead of working.
#include "launch/profile/breakdown_watch.h"

#include <chrono>
#include <thread>

#include <gmock/gmock.h>

#include "launch/profile/wait_exchange.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Lt;

void sleep_ms(double ms) { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms)); }

void all_reduce(Context& ctx, Communicator& group) {
  double one = 1;
  group.all_reduce(ctx.stream(), Tensor::borrow(&one, {1}, DType::f64));
}

/// A step whose passes take this rank so long, and end with a sum over all ranks.
void make_step(Context& ctx, Recorder& recorder, BreakdownWatch& watch, Communicator& group, double ms,
               bool is_last) {
  watch.clock().begin_step();
  recorder.enter(Phase::data);
  recorder.enter(Phase::forward);
  sleep_ms(ms);
  all_reduce(ctx, group);
  recorder.enter(Phase::update);
  sleep_ms(1);
  watch.clock().enter(Activity::other);
  if (is_last) watch.meet();
  watch.clock().end_step();
}

class WatchOfRanks : public testing::TestWithParam<int> {};

TEST_P(WatchOfRanks, ASlowRankIsFoundByAllAndCalledAStraggler) {
  const int num_ranks = GetParam();
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    Context ctx;
    Recorder recorder;
    ctx.set_recorder(&recorder);
    const ParallelContext parallel(world, {.data = num_ranks});
    BreakdownWatch watch(ctx, parallel, world.rank() == 1 ? "b" : "a", true);
    for (int window = 1; window <= Stragglers::kWindows; ++window) {
      EXPECT_THAT(watch.warnings(), IsEmpty());
      for (int step = 0; step < 2; ++step)
        make_step(ctx, recorder, watch, parallel.gradients(), world.rank() == 1 ? 80 : 5, step == 1);
      const RankedBreakdown out = watch.end_window(1000 + world.rank());
      EXPECT_EQ(out.all.steps, 2);
      EXPECT_THAT(out.all.compute_ms, AllOf(Ge(5), Lt(60)));
      EXPECT_THAT(out.all.imbalance_ms, Ge(20)) << "75 ms, less what the scheduler adds to the fast ones";
      EXPECT_GE(out.all.optimizer_ms, 1);
      double sum = 0;
      for (const auto& [part, ms] : parts_of(out.all)) sum += ms;
      EXPECT_NEAR(sum, out.all.step_ms, 1e-6);
      EXPECT_EQ(out.ranks.mem_bytes.at(1), 1001);
      EXPECT_EQ(out.ranks.mem_bytes.size(), num_ranks);
      EXPECT_EQ(watch.slowest().rank, 1);
      EXPECT_EQ(watch.slowest().num_windows, window);
    }
    EXPECT_THAT(watch.warnings(), ElementsAre(HasSubstr("rank 1 on b is a straggler")));
    EXPECT_THAT(watch.slowest_text(), HasSubstr("slowest: rank 1 on b, which computed "));
    EXPECT_THAT(watch.summary(),
                AllOf(HasSubstr("compute "), HasSubstr("imbalance "), HasSubstr("optimizer ")));
  });
}
INSTANTIATE_TEST_SUITE_P(All, WatchOfRanks, testing::Values(2, 3, 4));

TEST(BreakdownWatch, ARankAloneHasNobodyToWaitFor) {
  run_thread_ranks(1, [](Communicator& world) {
    Context ctx;
    Recorder recorder;
    ctx.set_recorder(&recorder);
    const ParallelContext parallel(world, {.data = 1});
    BreakdownWatch watch(ctx, parallel, "a", true);
    EXPECT_EQ(watch.summary(), "");
    make_step(ctx, recorder, watch, parallel.gradients(), 3, true);
    const RankedBreakdown out = watch.end_window(0);
    EXPECT_GE(out.all.compute_ms, 3);
    EXPECT_EQ(out.all.imbalance_ms, 0);
    EXPECT_THAT(out.all.exposed_ms, IsEmpty());
    EXPECT_EQ(watch.slowest_text(), "");
  });
}

TEST(BreakdownWatch, WhatIsExcludedIsNoPartOfAStep) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    Recorder recorder;
    ctx.set_recorder(&recorder);
    const ParallelContext parallel(world, {.data = 2});
    BreakdownWatch watch(ctx, parallel, "a", true);
    {
      const ScopedActivity evaluation(&watch.clock(), Activity::excluded);
      sleep_ms(300);
      all_reduce(ctx, world);
      recorder.enter(Phase::forward);
    }
    {
      const ScopedActivity save(&watch.clock(), Activity::checkpoint);
      sleep_ms(20);
    }
    make_step(ctx, recorder, watch, parallel.gradients(), 1, true);
    const RankedBreakdown out = watch.end_window(0);
    EXPECT_LT(out.all.step_ms, 300);
    EXPECT_GE(out.all.checkpoint_ms, 20);
  });
}

TEST(BreakdownWatch, WhereNothingIsSeenInsideTheTimeIsTheRest) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    Recorder recorder;
    ctx.set_recorder(&recorder);
    const ParallelContext parallel(world, {.data = 2});
    BreakdownWatch watch(ctx, parallel, "a", false);
    make_step(ctx, recorder, watch, parallel.gradients(), 10, true);
    const RankedBreakdown out = watch.end_window(0);
    EXPECT_EQ(out.all.compute_ms, 0);
    EXPECT_GE(out.all.rest_ms, 10);
    EXPECT_GE(out.all.optimizer_ms, 1);
    EXPECT_EQ(watch.slowest().rank, -1);
  });
}

TEST(WaitExchange, TheLastToComeWaitsForTheTransferAlone) {
  run_thread_ranks(3, [](Communicator& world) {
    GroupWaits mine;
    // Of the first call rank 2 is last, of the second rank 0; the transfer takes 1 and 2 ms.
    const double waits[][3] = {{5, 4, 1}, {2, 9, 3}};
    for (const auto& of_ranks : waits)
      mine.collectives.add_wait(mine.collectives.add_call(), of_ranks[world.rank()]);
    const SplitWaits split = split_waits(world, mine, std::vector<std::string>(3, "a"));
    EXPECT_DOUBLE_EQ(split.transfer, 3);
    EXPECT_DOUBLE_EQ(split.late, std::vector<double>({4, 10, 1})[static_cast<size_t>(world.rank())]);
  });
}

// On different hosts clocks are compared: here they are the same one, and the offset is about nothing.
TEST(WaitExchange, AMessageIsSplitAtTheTimeWhenItsSenderCame) {
  for (const bool same_host : {true, false}) {
    run_thread_ranks(2, [&](Communicator& world) {
      const std::vector<std::string> hosts{"a", same_host ? "a" : "b"};
      constexpr int64_t kMs = 1'000'000;
      GroupWaits mine;
      if (world.rank() == 0) {
        mine.sent[1].first.push_back({.posted_ns = 140 * kMs});
        mine.sent[1].first.push_back(
            {.posted_ns = 300 * kMs, .wait_begin_ns = 310 * kMs, .wait_end_ns = 350 * kMs});
        mine.received[1].first.push_back({400 * kMs, 450 * kMs, 520 * kMs});
      } else {
        mine.received[0].first.push_back({100 * kMs, 110 * kMs, 160 * kMs});
        mine.received[0].first.push_back({330 * kMs, 330 * kMs, 350 * kMs});
        mine.received[0].other_ms = 7;
        mine.sent[0].first.push_back({.posted_ns = 500 * kMs});
      }
      const SplitWaits split = split_waits(world, mine, hosts);
      const double slack = same_host ? 1e-9 : 5;
      if (world.rank() == 0) {
        EXPECT_NEAR(split.late, 20 + 50, slack) << "until the receiver came, and the sender";
        EXPECT_NEAR(split.transfer, 20 + 20, slack);
      } else {
        EXPECT_NEAR(split.late, 30 + 3, slack) << "until the sender came, and of those beyond as much";
        EXPECT_NEAR(split.transfer, 20 + 20 + 4, slack);
      }
    });
  }
}

TEST(StepClock, AWaitOfALaterStepBelongsToTheCallThatWasMade) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    Recorder recorder;
    ctx.set_recorder(&recorder);
    StepClock clock(ctx, world, true);
    double one = 1, two = 2;
    clock.begin_step();
    recorder.enter(Phase::forward);
    const WorkPtr first = world.all_reduce_async(ctx.stream(), Tensor::borrow(&one, {1}, DType::f64));
    const WorkPtr second = world.all_reduce_async(ctx.stream(), Tensor::borrow(&two, {1}, DType::f64));
    clock.begin_step();  // the one before has ended
    recorder.enter(Phase::backward);
    if (world.rank() == 0) sleep_ms(20);
    second->wait();
    first->wait();
    clock.end_step();
    const WindowTimes window = clock.take();
    EXPECT_EQ(window.steps, 2);
    EXPECT_THAT(window.groups.at(0).collectives.sums(), testing::SizeIs(2));
    EXPECT_GE(window.of(Activity::passes), world.rank() == 0 ? 20 : 0);
    EXPECT_EQ(clock.take().steps, 0);
  });
}

}  // namespace
}  // namespace trireme::launch
