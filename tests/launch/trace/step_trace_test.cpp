#include "launch/trace/step_trace.h"

#include <array>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/json/json_file.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using namespace launch;
using nlohmann::json;

/// What one rank of a traced job does.
struct Job {
  ParallelPlan plan;
  TraceOptions options;
  /// One step; `t` has 64 numbers.
  std::function<void(Context&, const ParallelContext&, const Tensor& t)> step;
  bool is_profiled = false;
};

/// The trace's file, and what the first rank says of it.
struct Traced {
  json file;
  TraceResult result;
};

Traced trace(int ranks, const Job& job) {
  const TemporaryFolder folder;
  TraceResult result;
  run_thread_ranks(ranks, [&](Communicator& world) {
    Recorder recorder;
    world.set_recorder(&recorder);
    Context ctx;
    ctx.set_recorder(&recorder);
    const ParallelContext parallel(world, job.plan);
    const Tensor t = Tensor::empty(ctx, {64}, DType::f32);
    ops::fill(ctx, t, 1);
    TraceOptions options = job.options;
    options.host = "node";
    StepTrace trace(ctx, parallel, options);
    for (int64_t step = options.steps.first; step <= options.steps.last; ++step) {
      recorder.enter({Phase::forward, step, 0, -1});
      job.step(ctx, parallel, t);
      trace.end_step(1000);
    }
    const ops::DeviceRates rates{1e12, 1e11};
    const TraceResult own = trace.finish([&](const StepRange&) { return folder.path("/trace.json"); },
                                         job.is_profiled ? &rates : nullptr);
    if (world.rank() == 0) {
      result = own;
    } else {
      EXPECT_EQ(own.file, "");
    }
  });
  return {read_json_file(result.file), result};
}

/// Slices of a row, by their names.
std::map<std::string, int> slices(const json& file, int rank, int row) {
  std::map<std::string, int> number;
  for (const json& event : file.at("traceEvents")) {
    if (event.at("ph") == "X" && event.at("pid") == rank && event.at("tid") == row)
      ++number[event.at("name").get<std::string>()];
  }
  return number;
}

TEST(StepTrace, HasTheOpsAndWaitsOfEveryRank) {
  for (const int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(ranks);
    const Job job{{.data = ranks},
                  {.steps = {3, 4}},
                  [](Context& ctx, const ParallelContext& parallel, const Tensor& t) {
                    for (int i = 0; i <= parallel.world().rank(); ++i) ops::scale(ctx, t, 2);
                    parallel.world().all_reduce(ctx.stream(), t);
                  }};
    const auto [file, result] = trace(ranks, job);
    EXPECT_EQ(result.steps, (StepRange{3, 4}));
    EXPECT_THAT(result.notes, testing::IsEmpty());
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(slices(file, rank, kOpRow), (std::map<std::string, int>{{"scale", 2 * (rank + 1)}}))
          << "none from outside of the steps";
      EXPECT_EQ(slices(file, rank, kWaitRow)["all_reduce"], ranks > 1 ? 2 : 0);
      EXPECT_THAT(slices(file, rank, kStepRow),
                  testing::ElementsAre(testing::Pair("forward 0", 2), testing::Pair("step 3", 1),
                                       testing::Pair("step 4", 1)));
    }
    EXPECT_EQ(file.at("metadata").at("clocks").size(), ranks);
    int starts = 0, ends = 0;
    for (const json& event : file.at("traceEvents")) {
      starts += event.at("ph") == "s";
      ends += event.at("ph") == "f";
      if (event.at("name") == "scale") {
        EXPECT_EQ(event.at("args").at("bytes"), 2 * 4 * 64);
      }
    }
    EXPECT_EQ(starts, 2 * (ranks - 1)) << "one to each that waited";
    EXPECT_EQ(ends, starts);
  }
}

TEST(StepTrace, ProcessesAreNamedByTheirCoordinates) {
  const Job job{{.data = 2, .pipeline = 2},
                {.steps = {1, 1}},
                [](Context& ctx, const ParallelContext& parallel, const Tensor& t) {
                  Communicator& stages = parallel.pipeline();
                  if (stages.rank() == 0) stages.send(ctx.stream(), t, 1, "activations");
                  if (stages.rank() == 1) stages.receive(ctx.stream(), t, 0, "activations");
                }};
  const auto [file, result] = trace(4, job);
  std::map<int, std::string> names;
  std::set<std::pair<int, int>> messages;
  std::map<int64_t, int> sender;
  for (const json& event : file.at("traceEvents")) {
    if (event.at("name") == "process_name") names[event.at("pid")] = event.at("args").at("name");
    if (event.at("ph") == "s") sender[event.at("id")] = event.at("pid");
    if (event.at("ph") == "f") messages.emplace(sender.at(event.at("id")), event.at("pid"));
    if (event.at("name") == "send" && event.at("tid") >= kFirstGroupRow) {
      EXPECT_EQ(event.at("args").at("label"), "activations");
    }
  }
  EXPECT_EQ(names[3], "rank 3: node, dp 1 pp 1 cp 0 tp 0 ep 0");
  EXPECT_EQ(messages, (std::set<std::pair<int, int>>{{0, 2}, {1, 3}}));
}

TEST(StepTrace, EndsEarlyBehindAWholeStep) {
  const Job job{{.data = 2},
                {.steps = {1, 8}, .max_events = 2500},
                [](Context& ctx, const ParallelContext& parallel, const Tensor& t) {
                  const int num = parallel.world().rank() == 0 ? 300 : 100;  // the share of a rank is 1250
                  for (int i = 0; i < num; ++i) ops::scale(ctx, t, 1);
                  parallel.world().all_reduce(ctx.stream(), t);
                }};
  const auto [file, result] = trace(2, job);
  EXPECT_EQ(result.steps, (StepRange{1, 4})) << "rank 1 has the others too";
  EXPECT_THAT(result.notes, testing::ElementsAre(testing::HasSubstr("ends early, after step 4")));
  EXPECT_EQ(file.at("metadata").at("ended_early"), result.notes[0]);
  EXPECT_EQ(slices(file, 0, kOpRow)["scale"], 4 * 300);
  EXPECT_EQ(slices(file, 1, kOpRow)["scale"], 4 * 100) << "as many steps as rank 0";
}

TEST(StepTrace, AFirstStepThatIsTooLongIsCut) {
  const Job job{{.data = 1},
                {.steps = {1, 2}, .max_events = 1000},
                [](Context& ctx, const ParallelContext& parallel, const Tensor& t) {
                  for (int i = 0; i < 1500; ++i) {
                    ops::scale(ctx, t, 1);
                    ctx.recorder()->set_layer(i);
                  }
                  parallel.world().barrier(ctx.stream());
                }};
  const auto [file, result] = trace(1, job);
  EXPECT_EQ(result.steps, (StepRange{1, 1}));
  EXPECT_THAT(result.notes, testing::ElementsAre(testing::HasSubstr("ends within step 1")));
  EXPECT_GT(file.at("traceEvents").size(), 500);
  EXPECT_LT(file.at("traceEvents").size(), 1100);
}

TEST(StepTrace, TheProfileOfAStepIsATraceWithAccounts) {
  Job job{{.data = 3}, {.steps = {5, 5}}, [](Context& ctx, const ParallelContext& parallel, const Tensor& t) {
            for (int i = 0; i <= parallel.world().rank(); ++i) ops::scale(ctx, t, 2);
            parallel.world().all_reduce(ctx.stream(), t);
          }};
  job.is_profiled = true;
  const auto [file, result] = trace(3, job);
  ASSERT_EQ(result.accounts.size(), 3);
  EXPECT_EQ(file.at("accounts").size(), 3);
  for (size_t rank = 0; rank < 3; ++rank) {
    const StepAccount& account = result.accounts[rank];
    ASSERT_EQ(account.ops.size(), 1);
    EXPECT_EQ(account.ops[0].calls, static_cast<int64_t>(rank) + 1);
    EXPECT_EQ(account.ops[0].shapes, "64");
    EXPECT_EQ(account.ops[0].bytes, 2 * 4 * 64 * (static_cast<double>(rank) + 1));
    ASSERT_EQ(account.wait_ms.size(), 1);
    EXPECT_EQ(account.wait_ms[0].first, "world");
    EXPECT_GT(account.ms, account.ops[0].ms);
  }
}

TEST(StepTrace, AFileThatCannotBeWrittenIsANote) {
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    const ParallelContext parallel(world, {.data = 2});
    StepTrace trace(ctx, parallel, {.steps = {1, 1}});
    trace.end_step(1);
    const TraceResult result = trace.finish([](const StepRange&) { return "/nowhere/at/all/trace.json"; });
    if (world.rank() == 0) {
      EXPECT_THAT(result.notes, testing::ElementsAre(testing::HasSubstr("/nowhere/at/all")));
    }
  });
}

TEST(ClockOffset, HostsAreAlignedByTheShortestRoundTrip) {
  std::array<ClockOffset, 3> offsets;
  run_thread_ranks(3, [&](Communicator& world) {
    Context ctx;
    const int64_t ahead = world.rank() * int64_t{1'000'000'000'000};
    const RankClock clock{[ahead] { return steady_ns() + ahead; }, world.rank() == 2 ? "other" : "host"};
    offsets[static_cast<size_t>(world.rank())] = measure_clock_offset(world, ctx.host_stream(), clock);
  });
  EXPECT_EQ(offsets[1].offset_ns, 0) << "its clock is called the same";
  EXPECT_EQ(offsets[1].round_trip_ns, 0);
  EXPECT_NEAR(static_cast<double>(offsets[2].offset_ns), -2e12,
              static_cast<double>(offsets[2].round_trip_ns) / 2 + 1);
  EXPECT_GT(offsets[2].round_trip_ns, 0);
}

TEST(ClockOffset, BetweenMeasurementsClocksGoEvenly) {
  const AlignedClock clock({1000, 50, 10}, {2000, 150, 10});
  EXPECT_EQ(clock.aligned(1000), 1050);
  EXPECT_EQ(clock.aligned(1500), 1600);
  EXPECT_EQ(clock.aligned(2000), 2150);
  EXPECT_EQ(clock.drift_ns(), 100);
  EXPECT_EQ(AlignedClock({5, 1, 0}, {5, 1, 0}).aligned(7), 8);
}

}  // namespace
}  // namespace trireme::test
