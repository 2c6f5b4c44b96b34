// The desk of a seat, with a clock of the test's own.
#include "runtime/watch/judge/desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/watch/judge/hang_text.h"
#include "runtime/watch/process/process_facts.h"

namespace trireme::watch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kInterval = 0.25;

/// Ranks by twos on hosts; those that are asked answer at once, unless they are frozen.
class DeskOfAJob : public testing::Test {
 protected:
  static constexpr double kLimit = 10;

  void start(int num_ranks, int seat = 0, int ranks_per_host = 8) {
    for (int rank = 0; rank < num_ranks; ++rank) {
      Peer peer;
      peer.rank = rank;
      peer.host = "host-" + std::to_string(rank / ranks_per_host);
      peer.pid = kNoProcess + rank;
      roster_.peers.push_back(peer);
    }
    frozen_.assign(roster_.peers.size(), false);
    quiet_.assign(roster_.peers.size(), 0);
    seat_ = seat;
    DeskLinks links{[this](int rank, std::string_view message) { asked(rank, std::string(message)); },
                    [this](int rank) { return !frozen_[static_cast<size_t>(rank)]; },
                    [this](Ending ending) { endings_.push_back(std::move(ending)); }};
    desk_.emplace(roster_, seat, kInterval, std::move(links), now_);
  }

  void asked(int rank, const std::string& message) {
    if (!frozen_[static_cast<size_t>(rank)]) questions_.emplace_back(rank, decode(message));
  }

  RankReport report_of(int rank) const {
    RankReport report;
    report.rank = rank;
    report.quiet = quiet_[static_cast<size_t>(rank)];
    report.limit = kLimit;
    report.histories = histories_.contains(rank) ? histories_.at(rank) : std::vector<CommHistory>();
    return report;
  }

  /// Time passes, during which every rank that is not frozen is quiet for as long.
  void pass(double seconds) {
    const double end = now_ + seconds;
    while (now_ < end && endings_.empty()) {
      now_ += kInterval;
      for (int rank = 0; rank < roster_.size(); ++rank) {
        auto& quiet = quiet_[static_cast<size_t>(rank)];
        quiet = progresses_.contains(rank) ? 0 : quiet + kInterval;
        const Heartbeat heartbeat{{Phase::forward, 3, 0, 0}, 1, quiet, kLimit};
        if (!frozen_[static_cast<size_t>(rank)]) desk_->hear(rank, encode(heartbeat), now_);
      }
      desk_->tick(now_);
      for (const auto& [rank, question] : std::exchange(questions_, {})) {
        if (question.at("say") == "report") {
          num_with_stacks_ += question.at("stacks").get<bool>();
          desk_->hear(rank,
                      encode(nlohmann::json{{"say", "report"},
                                            {"round", question.at("round")},
                                            {"report", to_json(report_of(rank), 16)}}),
                      now_);
        } else if (question.at("say") == "inspect") {
          nlohmann::json found = nlohmann::json::array();
          for (const int other : question.at("ranks"))
            found.push_back(to_json(Inspection{other, !dead_.contains(other), true, debugged_.contains(other),
                                               false, "seen by another"}));
          desk_->hear(rank, encode(nlohmann::json{{"say", "inspected"}, {"ranks", found}}), now_);
        }
      }
    }
  }

  void freeze(int rank) { frozen_[static_cast<size_t>(rank)] = true; }

  /// All ranks but `missing` are in one all-reduce.
  void wait_for(int missing) {
    CommHistory history;
    history.name = "dp";
    history.id = 7;
    for (int rank = 0; rank < roster_.size(); ++rank) history.members.push_back(rank);
    for (int rank = 0; rank < roster_.size(); ++rank) {
      history.rank = rank;
      histories_[rank] = {history};
      if (rank == missing) continue;
      CallRecord call;
      call.kind = CommKind::all_reduce;
      call.enqueued_ns = 1;
      histories_[rank][0].calls = {call};
      histories_[rank][0].num_collectives = 1;
    }
  }

  static constexpr int kNoProcess = 1 << 24;  // beyond what the kernel gives
  Roster roster_;
  std::optional<Desk> desk_;
  double now_ = 0;
  int seat_ = 0, num_with_stacks_ = 0;
  std::vector<bool> frozen_;
  std::vector<double> quiet_;
  std::set<int> dead_, debugged_, progresses_;
  std::map<int, std::vector<CommHistory>> histories_;
  std::vector<std::pair<int, nlohmann::json>> questions_;
  std::vector<Ending> endings_;
};

TEST_F(DeskOfAJob, NothingHappensBeforeTheLimit) {
  start(4);
  wait_for(2);
  pass(kLimit - 0.5);
  EXPECT_TRUE(endings_.empty());
  EXPECT_EQ(num_with_stacks_, 0);
}

TEST_F(DeskOfAJob, ARankThatMakesNoProgressIsNamedSoonAfterTheLimit) {
  start(4);
  wait_for(2);
  pass(kLimit + 2);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::stalled);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(2));
  EXPECT_EQ(endings_[0].code, ExitCode::hang);
  EXPECT_LE(now_, kLimit + 1.5);
  EXPECT_EQ(num_with_stacks_, 4);
}

TEST_F(DeskOfAJob, NoStackIsTakenWhileTheRankThatOthersWaitForGetsOn) {
  start(4);
  wait_for(2);
  progresses_ = {2};
  pass(5 * kLimit);
  EXPECT_TRUE(endings_.empty());
  EXPECT_EQ(num_with_stacks_, 0);
  progresses_.clear();
  pass(kLimit + 2);
  EXPECT_EQ(endings_.size(), 1u);
}

TEST_F(DeskOfAJob, AFrozenRankIsNamedWithoutWaitingForItsAnswer) {
  start(16);
  wait_for(9);
  pass(1);
  freeze(9);
  pass(kLimit + 2);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::frozen);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(9));
  EXPECT_THAT(endings_[0].verdict.lines[0], HasSubstr("seen by another"));
  EXPECT_THAT(ending_text(endings_[0], "run", {}), HasSubstr("trireme: error: rank 9 is frozen"));
}

TEST_F(DeskOfAJob, AFrozenRankIsNamedAlsoWhereNobodyWaitsForIt) {
  start(16);
  progresses_ = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15};
  pass(1);
  freeze(9);
  pass(kLimit + 2);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(9));
}

TEST_F(DeskOfAJob, WhoeverGetsOnBetweenTwoQuestionsIsNotBlamed) {
  start(16);
  wait_for(9);
  pass(kLimit);
  // The question for stacks is under way when all get on, and one rank can be heard no more.
  for (int rank = 0; rank < 16; ++rank) progresses_.insert(rank);
  pass(kInterval);
  freeze(9);
  pass(4);
  EXPECT_TRUE(endings_.empty());
  pass(kLimit + 4);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::frozen);
}

TEST_F(DeskOfAJob, AHostThatIsCutOffBetweenTwoQuestionsIsNotJudgedByItsFirstAnswer) {
  start(8, 0, 4);
  wait_for(-1);
  histories_[5][0].calls[0].ended_ns = 2;  // as if one part of the call had ended
  pass(kLimit);
  ASSERT_EQ(questions_.size(), 0u);
  for (int rank = 4; rank < 8; ++rank) freeze(rank);
  pass(10);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::unreachable);
  EXPECT_THAT(endings_[0].verdict.hosts, ElementsAre("host-1", "host-0"));
}

TEST_F(DeskOfAJob, AProcessInADebuggerIsNoHang) {
  start(16);
  wait_for(9);
  pass(1);
  freeze(9);
  debugged_ = {9};
  pass(4 * kLimit);
  EXPECT_TRUE(endings_.empty());
  debugged_.clear();
  pass(3);
  EXPECT_EQ(endings_.size(), 1u);
}

TEST_F(DeskOfAJob, ADeputyJudgesWhenTheFirstSeatIsFrozen) {
  start(4, 1);
  wait_for(0);
  pass(2);
  EXPECT_FALSE(desk_->judges(now_));
  freeze(0);
  pass(3);
  EXPECT_TRUE(desk_->judges(now_));
  EXPECT_TRUE(endings_.empty());
  pass(kLimit);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(0));
}

TEST_F(DeskOfAJob, ADeputyIsQuietWhileTheFirstSeatIsThere) {
  start(4, 1);
  wait_for(2);
  pass(3 * kLimit);
  EXPECT_TRUE(endings_.empty());
}

TEST_F(DeskOfAJob, ALostConnectionOfADeadProcessEndsTheJobAtOnce) {
  start(4);  // process_state() of this host says that there is none
  pass(1);
  freeze(3);
  desk_->lose(3, now_);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::gone);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(3));
  EXPECT_THAT(endings_[0].verdict.lines[0], HasSubstr("rank 3 (host host-0, process 16777219) was killed"));
  EXPECT_NE(endings_[0].code, ExitCode::hang);
}

TEST_F(DeskOfAJob, AnotherHostIsAskedWhetherItsProcessIsDead) {
  start(16);
  pass(1);
  freeze(12);
  dead_ = {12};
  desk_->lose(12, now_);
  EXPECT_TRUE(endings_.empty());
  pass(1);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_THAT(endings_[0].verdict.culprits, ElementsAre(12));
}

TEST_F(DeskOfAJob, ALostConnectionOfALivingProcessIsNoDeath) {
  start(16);
  pass(1);
  desk_->lose(12, now_);
  pass(5);
  EXPECT_TRUE(endings_.empty());
}

TEST_F(DeskOfAJob, AHostThatIsGoneWithAllItsRanksIsNoticed) {
  start(16);
  pass(1);
  for (int rank = 8; rank < 16; ++rank) {
    freeze(rank);
    desk_->lose(rank, now_);
  }
  pass(5);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_THAT(endings_[0].verdict.lines[0], HasSubstr("host-1"));
}

TEST_F(DeskOfAJob, WhoeverTakesItsLeaveIsNotMissed) {
  start(4);
  pass(1);
  desk_->hear(3, encode(nlohmann::json{{"say", "bye"}}), now_);
  desk_->lose(3, now_);
  freeze(3);
  progresses_ = {0, 1, 2};
  pass(3 * kLimit);
  EXPECT_TRUE(endings_.empty());
  progresses_.clear();
  wait_for(3);
  pass(kLimit + 2);
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].verdict.kind, Verdict::Kind::ended);
}

TEST_F(DeskOfAJob, WhatFollowsAFailureIsNoSurprise) {
  start(4);
  pass(1);
  desk_->hear(2, encode(nlohmann::json{{"say", "failing"}, {"code", 3}}), now_);
  EXPECT_TRUE(desk_->is_ending());
  desk_->lose(2, now_);
  desk_->lose(1, now_);
  EXPECT_TRUE(endings_.empty());
  pass(4);  // the rank has not ended the job
  ASSERT_EQ(endings_.size(), 1u);
  EXPECT_EQ(endings_[0].code, ExitCode::bad_input);
  EXPECT_TRUE(endings_[0].verdict.lines.empty());
}

TEST_F(DeskOfAJob, NonsenseIsLeftAside) {
  start(2);
  for (const std::string message : {"", "h", "hello", "o", "o\xff\xff", "p7"}) desk_->hear(1, message, 0);
  desk_->hear(-1, "h", 0);
  desk_->hear(2, "h", 0);
  desk_->hear(1, encode(nlohmann::json{{"say", "report"}, {"round", 0}}), 0);
  desk_->hear(1, encode(nlohmann::json{{"say", 3}}), 0);
  EXPECT_TRUE(endings_.empty());
}

TEST(StackGroups, OutliersComeFirst) {
  std::vector<RankReport> reports(4);
  for (int rank = 0; rank < 4; ++rank) {
    reports[static_cast<size_t>(rank)].rank = rank;
    const std::string function = rank == 2 ? "read_tokens (trireme)" : "MPI_Allreduce (libmpi.so.40)";
    reports[static_cast<size_t>(rank)].stacks = {
        {1, "trireme", {"poll (libc.so.6)", function, "main (trireme)"}}};
  }
  const std::vector<StackGroup> groups = group_stacks(reports);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_THAT(groups[0].ranks, ElementsAre(2));
  EXPECT_THAT(groups[1].ranks, ElementsAre(0, 1, 3));
}

TEST(ProcessFacts, OfThisProcess) {
  const ProcessState state = process_state(::getpid(), 0);
  EXPECT_TRUE(state.is_there);
  EXPECT_GT(state.start_time, 0);
  EXPECT_TRUE(process_state(::getpid(), state.start_time).is_there);
  EXPECT_FALSE(process_state(::getpid(), state.start_time + 1).is_there);
  EXPECT_FALSE(kill_process(::getpid(), state.start_time + 1));
}

}  // namespace
}  // namespace trireme::watch
