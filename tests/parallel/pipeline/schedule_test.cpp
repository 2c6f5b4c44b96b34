// Every schedule that can be made is proved and timed; every planted fault is found.
#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <functional>

#include <gmock/gmock.h>

#include "parallel/pipeline/check_schedule.h"
#include "parallel/pipeline/simulate.h"
#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using enum ActionKind;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kMaxStages = 8, kMaxMicroBatches = 32, kMaxChunks = 3;

std::string name_of(const Schedule& s) {
  return fmt::format("{}, {} stages, {} micro-batches, {} chunks", to_string(s.kind), s.num_stages,
                     s.num_micro_batches, s.num_chunks);
}

void for_each_schedule(ScheduleKind kind, const std::function<void(const Schedule&)>& f) {
  for (int stages = 1; stages <= kMaxStages; ++stages) {
    for (int micro_batches = 1; micro_batches <= kMaxMicroBatches; ++micro_batches) {
      for (int chunks = 1; chunks <= (kind == ScheduleKind::interleaved ? kMaxChunks : 1); ++chunks) {
        const Schedule schedule = make_schedule(kind, stages, micro_batches, chunks);
        SCOPED_TRACE(name_of(schedule));
        f(schedule);
      }
    }
  }
}

class EveryKind : public testing::TestWithParam<EnumName<ScheduleKind>> {};

TEST_P(EveryKind, IsProved) {
  for_each_schedule(GetParam().value, [](const Schedule& s) { EXPECT_THAT(check_schedule(s), IsEmpty()); });
}

TEST_P(EveryKind, SumsGradientsInTheOrderOfTheMicroBatches) {
  for_each_schedule(GetParam().value, [](const Schedule& s) {
    for (const auto& actions : s.actions_of_stage) {
      std::vector<int> next(static_cast<size_t>(s.num_chunks));
      for (const Action& a : actions) {
        if (a.kind == backward || a.kind == backward_weight) {
          EXPECT_EQ(a.micro_batch, next[static_cast<size_t>(a.chunk)]++);
        }
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Schedule, EveryKind,
                         testing::ValuesIn(made_schedule_kinds().begin(), made_schedule_kinds().end()),
                         [](const auto& test_info) {
                           std::string name(test_info.param.name);
                           std::erase(name, '-');
                           return name;
                         });

TEST(Schedule, DeepInterleavingIsProvedToo) {
  for (const int chunks : {4, 7}) {
    for (int micro_batches = 1; micro_batches <= 24; ++micro_batches)
      EXPECT_THAT(check_schedule(make_schedule(ScheduleKind::interleaved, 8, micro_batches, chunks)),
                  IsEmpty());
  }
}

TEST(Schedule, ArgumentsThatMakeNone) {
  EXPECT_EQ(ScheduleSpec::named("zb-h1"), ScheduleKind::zb_h1);
  EXPECT_EQ(ScheduleSpec::named("2f2b").path, "2f2b");  // no kind: a file's name
  EXPECT_THROW(make_schedule(ScheduleKind::file, 2, 2), InternalError);
  test::expect_error(ExitCode::usage, {"0 stages"}, [] { make_schedule(ScheduleKind::one_f_one_b, 0, 2); });
  test::expect_error(ExitCode::usage, {"-1 micro-batches"},
                     [] { make_schedule(ScheduleKind::one_f_one_b, 2, -1); });
  test::expect_error(ExitCode::usage, {"2 virtual stages", "zb-h1"},
                     [] { make_schedule(ScheduleKind::zb_h1, 2, 4, 2); });
}

TEST(Schedule, OneFOneBOverTwoStages) {
  const auto s = make_schedule(ScheduleKind::one_f_one_b, 2, 2);
  const std::vector<Action> expected = {{forward, 0},
                                        {send_activation, 0, 0, 1},
                                        {forward, 1},
                                        {send_activation, 1, 0, 1},
                                        {receive_gradient, 0, 0, 1},
                                        {backward, 0},
                                        {receive_gradient, 1, 0, 1},
                                        {backward, 1}};
  EXPECT_EQ(s.actions_of_stage[0], expected);
}

// Formulas of docs/pipeline.md ------------------------------------------------------------------------------

TEST(ScheduleFormulas, BubbleAndActivationsOfGpipeAndOneFOneB) {
  for (const ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
    for_each_schedule(kind, [&](const Schedule& s) {
      const int p = s.num_stages, m = s.num_micro_batches;
      for (const ActionCosts& costs : {ActionCosts{1, 1, 1}, ActionCosts{1, 1.5, 0.25}}) {
        const Timeline timeline = simulate(s, costs);
        EXPECT_NEAR(timeline.bubble, (p - 1.0) / (m + p - 1.0), 1e-12);
        for (int stage = 0; stage < p; ++stage) {
          EXPECT_EQ(timeline.peak_activations_of_stage[static_cast<size_t>(stage)],
                    kind == ScheduleKind::gpipe ? m : std::min(m, p - stage));
        }
      }
    });
  }
}

TEST(ScheduleFormulas, BubbleAndActivationsOfInterleaved) {
  for_each_schedule(ScheduleKind::interleaved, [](const Schedule& s) {
    const int p = s.num_stages, m = s.num_micro_batches, v = s.num_chunks;
    const Timeline timeline = simulate(s, {1, 1.5, 0.25});
    const double idle = p - 1.0 + (v - 1.0) * std::max(0, p - m);  // in forwards and backwards of a chunk
    EXPECT_NEAR(timeline.bubble, idle / (v * m + idle), 1e-12);
    const int largest_group = (m + std::max(1, m / p) - 1) / std::max(1, m / p);
    for (int stage = 0; stage < p && v > 1; ++stage) {
      EXPECT_EQ(timeline.peak_activations_of_stage[static_cast<size_t>(stage)],
                std::min(v * m, 2 * (p - 1 - stage) + (v - 1) * largest_group + 1));
    }
  });
}

TEST(ScheduleFormulas, ZeroBubbleHalvesTheBubbleAtTheActivationsOfOneFOneB) {
  for_each_schedule(ScheduleKind::zb_h1, [](const Schedule& s) {
    const int p = s.num_stages, m = s.num_micro_batches;
    const Timeline timeline = simulate(s), plain = simulate(make_schedule(ScheduleKind::one_f_one_b, p, m));
    EXPECT_THAT(timeline.peak_activations_of_stage, Each(std::min(m, p)));
    EXPECT_EQ(std::ranges::max(plain.peak_activations_of_stage), std::min(m, p));
    const double idle = 2 * (p - 1) - (std::min(m, p) - 1);
    EXPECT_NEAR(timeline.bubble, idle / (3 * m + idle), 1e-12);
    if (m >= p) {
      EXPECT_LE(timeline.bubble, plain.bubble / 2 + 1e-12);
    }
    const ActionCosts costs{1, 1.25, 0.75};
    EXPECT_NEAR(simulate(s, costs).makespan, m * 3.0 + (p - 1) * 2.25 - (std::min(m, p) - 1) * 0.75, 1e-9);
  });
}

TEST(ScheduleFormulas, LatencyIsPaidOnTheWayThereAndBack) {
  EXPECT_DOUBLE_EQ(simulate(make_schedule(ScheduleKind::one_f_one_b, 3, 1), {1, 1, 1, 0.5}).makespan,
                   3 * 3 + 4 * 0.5);
}

// Planted errors --------------------------------------------------------------------------------------------

size_t position_of(const Schedule& s, size_t stage, ActionKind kind, int micro_batch) {
  const auto& actions = s.actions_of_stage[stage];
  for (size_t i = 0; i < actions.size(); ++i) {
    if (actions[i].kind == kind && actions[i].micro_batch == micro_batch) return i;
  }
  ADD_FAILURE() << "no such action";
  return 0;
}

void erase(Schedule& s, size_t stage, size_t position) {
  s.actions_of_stage[stage].erase(s.actions_of_stage[stage].begin() + static_cast<std::ptrdiff_t>(position));
}

TEST(CheckSchedule, AnyActionThatIsMissingDoubledOrMovedToAnotherMicroBatchIsFound) {
  for (const auto& [kind, name] : made_schedule_kinds()) {
    const Schedule good = make_schedule(kind, 3, 4, kind == ScheduleKind::interleaved ? 2 : 1);
    for (size_t stage = 0; stage < 3; ++stage) {
      for (size_t i = 0; i < good.actions_of_stage[stage].size(); ++i) {
        SCOPED_TRACE(fmt::format("{} stage {} {}", name, stage, to_string(good.actions_of_stage[stage][i])));
        Schedule missing = good, doubled = good, renamed = good;
        erase(missing, stage, i);
        EXPECT_THAT(check_schedule(missing), Not(IsEmpty()));
        auto& actions = doubled.actions_of_stage[stage];
        actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(i), Action(actions[i]));
        EXPECT_THAT(check_schedule(doubled), Not(IsEmpty()));
        Action& action = renamed.actions_of_stage[stage][i];
        action.micro_batch = (action.micro_batch + 1) % 4;
        EXPECT_THAT(check_schedule(renamed), Not(IsEmpty()));
      }
    }
  }
}

TEST(CheckSchedule, AMissingBackwardIsNamed) {
  auto s = make_schedule(ScheduleKind::one_f_one_b, 4, 6);
  erase(s, 2, position_of(s, 2, backward, 3));
  EXPECT_THAT(check_schedule(s), Contains("stage 2 lacks B3: no backward of micro-batch 3, chunk 0"));
  auto split = make_schedule(ScheduleKind::zb_h1, 4, 6);
  erase(split, 1, position_of(split, 1, backward_weight, 5));
  EXPECT_THAT(check_schedule(split),
              testing::ElementsAre(AllOf(HasSubstr("stage 1 lacks W5"), HasSubstr("weight gradient"))));
}

TEST(CheckSchedule, SwappedReceivesAreNamed) {
  auto s = make_schedule(ScheduleKind::gpipe, 2, 3);
  auto& actions = s.actions_of_stage[1];
  std::swap(actions[position_of(s, 1, receive_activation, 0)],
            actions[position_of(s, 1, receive_activation, 1)]);
  EXPECT_THAT(check_schedule(s),
              AllOf(Contains("stage 1, action 1 (F0) comes before its input is received"),
                    Contains("stage 1, action 0 (receive activation 1 from stage 0) meets another "
                             "message: stage 0, action 1 (send activation 0 to stage 1)")));
}

TEST(CheckSchedule, AForwardBeforeItsReceiveIsNamed) {
  auto s = make_schedule(ScheduleKind::one_f_one_b, 2, 2);
  std::swap(s.actions_of_stage[1][0], s.actions_of_stage[1][1]);
  EXPECT_THAT(check_schedule(s),
              testing::ElementsAre("stage 1, action 0 (F0) comes before its input is received"));
}

TEST(CheckSchedule, ACircleIsReportedWhereItStands) {
  // Stage 0 wants the gradient of 0 before it sends 1; stage 1 wants 1 before it gives the gradient of 0.
  Schedule s{2,
             2,
             1,
             ScheduleKind::file,
             {{{forward, 0}, {backward, 0}, {forward, 1}, {backward, 1}},
              {{forward, 0}, {forward, 1}, {backward, 0}, {backward, 1}}}};
  derive_transfers(s);
  EXPECT_THAT(
      check_schedule(s),
      testing::ElementsAre("stage 0, action 2 (receive gradient 0 from stage 1) waits forever: stage 1, "
                           "action 2 (receive activation 1 from stage 0) waits too",
                           "stage 1, action 2 (receive activation 1 from stage 0) waits forever: stage 0, "
                           "action 2 (receive gradient 0 from stage 1) waits too"));
}

TEST(CheckSchedule, NumbersOutOfRangeAndWrongPeers) {
  auto s = make_schedule(ScheduleKind::one_f_one_b, 3, 2);
  s.actions_of_stage[1][0].peer = 7;
  EXPECT_THAT(check_schedule(s), testing::ElementsAre(HasSubstr("peer 7 is out of range")));
  s.actions_of_stage[1][0].peer = 2;
  EXPECT_THAT(check_schedule(s), Contains(HasSubstr("has the wrong peer: expected stage 0")));
  s.actions_of_stage.pop_back();
  EXPECT_THAT(check_schedule(s), testing::ElementsAre(HasSubstr("3 stages")));
}

TEST(CheckSchedule, RendezvousIsToldApart) {
  EXPECT_TRUE(holds_with_rendezvous(make_schedule(ScheduleKind::gpipe, 4, 8)));
  EXPECT_FALSE(holds_with_rendezvous(make_schedule(ScheduleKind::one_f_one_b, 4, 8)));
}

TEST(DeriveTransfers, MessagesOfAPairAreTakenInTheOrderOfTheirSends) {
  // Stage 1 runs micro-batch 1 first although stage 0 sends 0 first.
  Schedule s{2,
             2,
             1,
             ScheduleKind::file,
             {{{forward, 0}, {forward, 1}, {backward, 0}, {backward, 1}},
              {{forward, 1}, {forward, 0}, {backward, 0}, {backward, 1}}}};
  derive_transfers(s);
  EXPECT_THAT(check_schedule(s), IsEmpty());
  EXPECT_EQ(s.actions_of_stage[1][0], (Action{receive_activation, 0, 0, 0}));
  const Schedule once = s;
  derive_transfers(s);
  EXPECT_EQ(s.actions_of_stage, once.actions_of_stage);
}

}  // namespace
}  // namespace trireme
