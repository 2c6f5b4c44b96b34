// What accounting for the time of steps costs, in processor time (so that other work on the machine counts
// little): a call, steps of gpt2-3m with it and without it, in turns, and the end of a window.
//   breakdown_bench [STEPS]
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "launch/profile/breakdown_watch.h"
#include "models/families/presets.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

constexpr int64_t kRows = 2, kSeqLen = 64;
constexpr int kStepsOfWindow = 10;

/// That this thread has computed.
double milliseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

ModelConfig config() {
  ModelConfig c = find_preset("gpt2-3m")->config;
  if (c.vocab_size == 0) c.vocab_size = 512;
  return c;
}

/// Of a call that is noted and read again, beside one that is not.
double nanoseconds_a_call() {
  constexpr int kSteps = 2000, kCalls = 100;
  Recorder recorder;
  Context ctx;
  ctx.set_recorder(&recorder);
  const auto world = make_self_communicator();
  const auto run = [&](launch::StepClock* clock) {
    const double begin = milliseconds();
    for (int step = 0; step < kSteps; ++step) {
      if (clock != nullptr) clock->begin_step();
      recorder.enter(Phase::data);
      recorder.enter(Phase::forward);
      for (int i = 0; i < kCalls; ++i) world->barrier(ctx.stream());
      if (clock != nullptr) clock->end_step();
      if (clock != nullptr && step % kStepsOfWindow == 0) clock->take();
    }
    return 1e6 * (milliseconds() - begin) / (kSteps * kCalls);
  };
  double with = 1e9, without = 1e9;
  for (int round = 0; round < 5; ++round) {
    without = std::min(without, run(nullptr));
    launch::StepClock clock(ctx, *world, true);
    with = std::min(with, run(&clock));
  }
  return with - without;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

void compare(Communicator& world, const ParallelPlan& plan, int num_steps) {
  Recorder recorder;
  Context ctx{{}, 1};
  ctx.set_recorder(&recorder);
  TrainingSession session(ctx, world, plan, config(), {.max_seq_len = kSeqLen, .seed = 1});
  const std::vector<int32_t> tokens(kRows * kSeqLen, 7);
  const MicroBatch batch = make_micro_batch(ctx, kRows, kSeqLen, tokens, tokens, session.share());
  std::optional<launch::BreakdownWatch> watch;
  // A window of steps, without its end.
  const auto window = [&] {
    const double begin = milliseconds();
    for (int i = 0; i < kStepsOfWindow; ++i) {
      MicroBatch own = batch;
      if (watch) watch->clock().begin_step();
      recorder.enter(Phase::data);
      PendingStep pending = session.step().forward_backward({&own, 1});
      session.step().apply(std::move(pending), 1e-4);
      if (watch) watch->clock().end_step();
    }
    return (milliseconds() - begin) / kStepsOfWindow;
  };
  std::vector<double> with, without, ends, ratios;
  for (int i = -2; i < num_steps / kStepsOfWindow; ++i) {
    double ms_without = 0, ms_with = 0, ms_end = 0;
    for (const bool is_with : {i % 2 == 0, i % 2 != 0}) {
      if (is_with) watch.emplace(ctx, session.parallel(), "host", true);
      (is_with ? ms_with : ms_without) = window();
      if (!is_with) continue;
      const double begin = milliseconds();
      watch->end_window(0);
      ms_end = milliseconds() - begin;
      watch.reset();
    }
    if (i < 0) continue;
    with.push_back(ms_with);
    without.push_back(ms_without);
    ends.push_back(ms_end);
    ratios.push_back(ms_with / ms_without);
  }
  if (world.rank() != 0) return;
  fmt::print(
      "{} rank{}, {} of tensor: {:.3f} ms a step with, {:.3f} without; median ratio of neighbours {:.4f}; "
      "{:.3f} ms at the end of a window\n",
      world.size(), world.size() > 1 ? "s" : "", plan.tensor, median(with), median(without), median(ratios),
      median(ends));
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using namespace trireme;
  const int num_steps = argc > 1 ? std::atoi(argv[1]) : 600;
  fmt::print("{:.0f} ns a call that is noted\n", nanoseconds_a_call());
  for (const auto& [num_ranks, tensor] : {std::pair(1, 1), {2, 1}, {2, 2}}) {
    run_thread_ranks(num_ranks, [&, degree = tensor](Communicator& world) {
      compare(world, {.tensor = degree}, num_steps);
    });
  }
}
