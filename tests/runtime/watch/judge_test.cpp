// Who is to blame, from what ranks report.
#include "runtime/watch/judge/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/watch/job_reports.h"

namespace trireme::watch {
namespace {

using test::Job;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Verdict::Kind;

TEST(Judge, ARankThatOthersWaitForInNoCallIsStalled) {
  Job job(4);
  const uint64_t dp = job.group("dp", {0, 1, 2, 3});
  for (int rank : {0, 1, 2}) job.call(rank, dp, CommKind::all_reduce, false);
  job.of(3).site = {Phase::data, 13, -1, -1};
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::stalled);
  EXPECT_THAT(verdict.culprits, ElementsAre(3));
  EXPECT_THAT(verdict.waits,
              Contains(HasSubstr("ranks 0-2 wait in all_reduce #0 of dp (sum, f32, 1000 elements; step 12, "
                                 "backward, micro-batch 0, layer 3) for rank 3")));
  EXPECT_THAT(verdict.lines,
              ElementsAre(AllOf(HasSubstr("rank 3"), HasSubstr("step 13, data"), HasSubstr("alpha"))));
}

TEST(Judge, WhoeverMayStillTakeItsTimeIsNotToBlame) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1});
  job.call(0, dp, CommKind::all_reduce, false);
  job.of(1).site = {Phase::save, 12, -1, -1};
  job.of(1).limit = 1000;
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::none);
  job.of(1).limit = 0;  // no limit at all
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::none);
  job.of(1).limit = 11;
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::stalled);
}

TEST(Judge, AWellJobHasNobodyToBlame) {
  Job job(3);
  job.group("dp", {0, 1, 2});
  for (int rank = 0; rank < 3; ++rank) job.of(rank).quiet = 1;
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::none);
}

TEST(Judge, ARankInAnotherCommunicatorIsTheRoot) {
  Job job(8);
  const uint64_t dp = job.group("dp", {0, 1, 2, 3, 4, 5, 6, 7}), ep = job.group("ep", {6, 7});
  for (int rank = 0; rank < 7; ++rank) job.call(rank, dp, CommKind::all_reduce, false);
  job.call(7, ep, CommKind::all_to_all, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::deadlock);
  EXPECT_THAT(verdict.culprits, ElementsAre(7));
  EXPECT_THAT(verdict.waits, Contains(HasSubstr("ranks 0-6 wait in all_reduce #0 of dp")));
  EXPECT_THAT(verdict.lines, ElementsAre(HasSubstr("rank 7 is in all_to_all #0 of ep")));
}

TEST(Judge, TwoRanksThatWaitForEachOtherAreBothNamed) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1}), tp = job.group("tp", {0, 1});
  job.call(0, dp, CommKind::all_reduce, false);
  job.call(1, tp, CommKind::all_gather, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::deadlock);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 1));
}

TEST(Judge, ChainsOverCommunicatorsLeadToTheirEnd) {
  Job job(6);  // 0 -> 1 -> 2 over three pairs, 3 to 5 behind 0
  const uint64_t a = job.group("a", {3, 4, 5, 0}), b = job.group("b", {0, 1}), c = job.group("c", {1, 2});
  for (int rank : {3, 4, 5}) job.call(rank, a, CommKind::barrier, false, -1);
  job.call(0, b, CommKind::all_reduce, false);
  job.call(1, c, CommKind::all_reduce, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::stalled);
  EXPECT_THAT(verdict.culprits, ElementsAre(2));
}

TEST(Judge, DifferentCallsAtOneNumberAreAMismatchOfTheFewer) {
  for (const bool other_kind : {false, true}) {
    Job job(4);
    const uint64_t dp = job.group("dp", {0, 1, 2, 3});
    for (int rank = 0; rank < 4; ++rank) job.call(rank, dp, CommKind::broadcast, true).peer = 0;
    for (int rank : {0, 1, 3}) job.call(rank, dp, CommKind::all_reduce, false);
    job.call(2, dp, other_kind ? CommKind::all_gather : CommKind::all_reduce, false, other_kind ? 1000 : 999);
    const Verdict verdict = judge(job.reports(), 0);
    EXPECT_EQ(verdict.kind, Kind::mismatch);
    EXPECT_THAT(verdict.culprits, ElementsAre(2));
    EXPECT_THAT(verdict.lines.back(), AllOf(HasSubstr("rank 2 called"), HasSubstr("number 1 of dp")));
  }
}

TEST(Judge, AMismatchOfTwoNamesBoth) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1});
  job.call(0, dp, CommKind::all_reduce, false);
  job.call(1, dp, CommKind::all_reduce, false).dtype = DType::bf16;
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::mismatch);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 1));
}

/// Ranks 0 to 3 as two by two: each step an all-reduce over dp, an all-gather over tp, an all-reduce of all.
TEST(Judge, ARankThatLeavesACallOutIsNamedWhereverTheOthersAreStuck) {
  Job job(4);
  const uint64_t dp0 = job.group("dp", {0, 2}), dp1 = job.group("dp", {1, 3}), tp0 = job.group("tp", {0, 1}),
                 tp1 = job.group("tp", {2, 3}), world = job.group("world", {0, 1, 2, 3});
  for (int rank : {0, 2}) job.call(rank, dp0, CommKind::all_reduce, true);
  job.call(1, dp1, CommKind::all_reduce, false);  // for rank 3, which is past it
  job.call(0, tp0, CommKind::all_gather, false);
  for (int rank : {2, 3}) {
    job.call(rank, tp1, CommKind::all_gather, true);
    job.call(rank, world, CommKind::all_reduce, false);
  }
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::deadlock);
  EXPECT_THAT(verdict.culprits, ElementsAre(3));
}

/// As before, without tensor parallelism: ranks 0 and 2, and 1 and 3, reduce gradients together.
TEST(Judge, ARankThatIsStuckBehindAnotherIsNotTheOneThatLeftOutACall) {
  Job job(4);
  const uint64_t dp0 = job.group("data", {0, 2}), dp1 = job.group("data", {1, 3}),
                 world = job.group("world", {0, 1, 2, 3});
  for (int rank : {0, 2}) job.call(rank, dp0, CommKind::all_reduce, true);
  job.call(3, dp1, CommKind::all_reduce, false);
  for (int rank : {0, 1, 2}) {
    job.of(rank).site.phase = Phase::reduction;
    job.call(rank, world, CommKind::all_reduce, false);
  }
  EXPECT_THAT(judge(job.reports(), 0).culprits, ElementsAre(1));
}

TEST(Judge, AnExtraCallIsTheFaultOfTheRankThatMadeIt) {
  Job job(4);
  const uint64_t dp0 = job.group("data", {0, 2}), dp1 = job.group("data", {1, 3}),
                 world = job.group("world", {0, 1, 2, 3});
  for (int rank : {0, 2}) job.call(rank, dp0, CommKind::all_reduce, true);
  for (int rank : {1, 3}) job.call(rank, dp1, CommKind::all_reduce, true);
  job.call(1, dp1, CommKind::all_reduce, false);
  for (int rank : {0, 2, 3}) {
    job.of(rank).site.phase = Phase::reduction;
    job.call(rank, world, CommKind::all_reduce, false);
  }
  EXPECT_THAT(judge(job.reports(), 0).culprits, ElementsAre(1));
}

TEST(Judge, OfTwoRanksTheOneThatIsFurtherHasLeftOutTheCall) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1}), world = job.group("world", {0, 1});
  job.call(0, dp, CommKind::all_reduce, false);
  job.of(1).site.phase = Phase::update;
  job.call(1, world, CommKind::all_reduce, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::deadlock);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
}

TEST(Judge, EqualCallsOfDifferentStepsAreShifted) {
  Job job(3);
  const uint64_t dp = job.group("dp", {0, 1, 2});
  for (int rank = 0; rank < 3; ++rank) {
    job.of(rank).site.step = rank == 1 ? 13 : 12;
    job.call(rank, dp, CommKind::all_reduce, rank == 1);
  }
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::mismatch);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
}

TEST(Judge, CountsOfAnAllToAllVMayDiffer) {
  Job job(2);
  const uint64_t ep = job.group("ep", {0, 1});
  job.call(0, ep, CommKind::all_to_all_v, false, 10);
  job.call(1, ep, CommKind::all_to_all_v, false, 20);
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::network);
}

TEST(Judge, ACallThatAllHaveEnteredIsTheDeviceOrTheNetwork) {
  Job job(3);
  job.of(2).host = "beta";
  const uint64_t dp = job.group("dp", {0, 1, 2});
  for (int rank = 0; rank < 3; ++rank) job.call(rank, dp, CommKind::all_reduce, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::network);
  EXPECT_THAT(verdict.culprits, ElementsAre(0, 1, 2));
  EXPECT_THAT(verdict.hosts, ElementsAre("alpha", "beta"));
  EXPECT_THAT(verdict.lines, ElementsAre(HasSubstr("hosts alpha, beta")));
}

TEST(Judge, WhoeverHasLeftACallOfOthersIsNamed) {
  Job job(4);
  const uint64_t dp = job.group("dp", {0, 1, 2, 3});
  for (int rank : {0, 1, 2}) job.call(rank, dp, CommKind::all_reduce, false);
  job.call(3, dp, CommKind::all_reduce, true);
  job.call(3, dp, CommKind::all_reduce, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::left);
  EXPECT_THAT(verdict.culprits, ElementsAre(3));
}

TEST(Judge, ABroadcastMayBeDoneAtItsRoot) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1});
  job.call(0, dp, CommKind::broadcast, true).peer = 0;
  job.call(1, dp, CommKind::broadcast, false).peer = 0;
  const uint64_t tp = job.group("tp", {0, 1});
  job.call(0, tp, CommKind::all_gather, false);  // waits for rank 1, which waits for nobody that has not come
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::network);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
}

TEST(Judge, MessagesBelongTogetherByTheirNumbers) {
  Job job(3);
  const uint64_t pp = job.group("pp", {0, 1, 2});
  job.message(0, pp, CommKind::send, 1, true);
  job.message(1, pp, CommKind::receive, 0, true);
  job.message(1, pp, CommKind::receive, 0, false);  // the second, which rank 0 has not sent
  job.message(2, pp, CommKind::receive, 1, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::stalled);
  EXPECT_THAT(verdict.culprits, ElementsAre(0));
  EXPECT_THAT(verdict.waits, Contains(HasSubstr("rank 1 waits in receive #1 from rank 0 of pp")));
}

TEST(Judge, ReceivesPostedAheadHoldUpNobodyWhoseStackIsElsewhere) {
  Job job(2);
  const uint64_t pp = job.group("pp", {0, 1});
  job.message(0, pp, CommKind::receive, 1, false);
  job.message(1, pp, CommKind::receive, 0, false);
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::deadlock);
  job.of(0).waits = true;
  job.of(1).waits = false;
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::stalled);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
}

TEST(Judge, ASendThatNeedNotBeWaitedForIsNoWait) {
  Job job(3);
  const uint64_t pp = job.group("pp", {0, 1, 2});
  job.message(1, pp, CommKind::send, 2, false);  // in flight while it waits for rank 0
  job.message(1, pp, CommKind::receive, 0, false);
  job.message(2, pp, CommKind::receive, 1, false);
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_THAT(verdict.culprits, ElementsAre(0));
}

TEST(Judge, MessagesThatDifferAreAMismatch) {
  Job job(2);
  const uint64_t pp = job.group("pp", {0, 1});
  job.message(0, pp, CommKind::send, 1, false).count = 32;
  job.message(1, pp, CommKind::receive, 0, false);
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::mismatch);
}

TEST(Judge, AProcessThatDoesNotAnswerIsFrozen) {
  Job job(3);
  const uint64_t dp = job.group("dp", {0, 1, 2});
  for (int rank : {0, 2}) job.call(rank, dp, CommKind::all_reduce, false);
  job.of(1).presence = Presence::silent;
  job.of(1).detail = "stopped by a signal";
  job.of(1).histories.clear();
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::frozen);
  EXPECT_THAT(verdict.culprits, ElementsAre(1));
  EXPECT_THAT(verdict.lines,
              ElementsAre(AllOf(HasSubstr("rank 1 is frozen"), HasSubstr("stopped by a signal"))));
}

TEST(Judge, AHostOfWhichNobodyAnswersIsNamedWithTheOneThatAsks) {
  Job job(4);
  for (int rank : {2, 3}) {
    job.of(rank).host = "beta";
    job.of(rank).presence = Presence::silent;
  }
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::unreachable);
  EXPECT_THAT(verdict.culprits, ElementsAre(2, 3));
  EXPECT_THAT(verdict.hosts, ElementsAre("beta", "alpha"));
  job.of(3).presence = Presence::answered;
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::frozen);
}

TEST(Judge, ARankThatHasEndedIsNamedByThoseThatWait) {
  Job job(3);
  const uint64_t dp = job.group("dp", {0, 1, 2});
  for (int rank : {0, 1}) job.call(rank, dp, CommKind::all_reduce, false);
  job.of(2).presence = Presence::ended;
  job.of(2).histories.clear();
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_EQ(verdict.kind, Kind::ended);
  EXPECT_THAT(verdict.culprits, ElementsAre(2));
}

TEST(Judge, OnlyTheFirstOfSeveralCollectivesInFlightCounts) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1});
  job.call(0, dp, CommKind::all_reduce, false);
  job.call(0, dp, CommKind::all_reduce, false);
  job.call(1, dp, CommKind::all_reduce, false);
  EXPECT_EQ(judge(job.reports(), 0).kind, Kind::network);
}

TEST(Judge, AThousandRanksAreJudgedTogether) {
  constexpr int kRanks = 1000;
  Job job(kRanks);
  std::vector<int> all;
  for (int rank = 0; rank < kRanks; ++rank) all.push_back(rank);
  const uint64_t world = job.group("world", all);
  for (int rank = 0; rank < kRanks; ++rank) {
    if (rank != 777) job.call(rank, world, CommKind::all_reduce, false);
  }
  const Verdict verdict = judge(job.reports(), 0);
  EXPECT_THAT(verdict.culprits, ElementsAre(777));
  EXPECT_THAT(verdict.waits, Contains(HasSubstr("ranks 0-776, 778-999 wait")));
}

TEST(RankReport, SurvivesTheWay) {
  Job job(2);
  const uint64_t dp = job.group("dp", {0, 1});
  job.call(0, dp, CommKind::all_reduce, true);
  CallRecord& last = job.call(0, dp, CommKind::broadcast, false);
  last.peer = 1;
  std::string("activations").copy(last.label, 23);
  job.of(0).waits = true;
  job.of(0).stacks = {{7, "main", {"poll", "main"}}};
  const RankReport read = report_from_json(to_json(job.of(0), 16));
  EXPECT_EQ(to_json(read, 16), to_json(job.of(0), 16));
  EXPECT_EQ(to_json(job.of(0), 0)["communicators"][0]["calls"].size(), 1u);  // what is pending is kept
}

}  // namespace
}  // namespace trireme::watch
