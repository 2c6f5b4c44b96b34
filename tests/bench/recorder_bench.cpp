// What the recorder costs, in processor time (so that other work on the machine counts little): a record, and
// steps of gpt2-3m with it and without it, in turns, alone and on two ranks.
//   recorder_bench [STEPS]
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "models/families/presets.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {
namespace {

constexpr int64_t kRows = 2, kSeqLen = 64;

/// That this thread has computed.
double nanoseconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

/// Of a call that is made, begun and ended, as a blocking collective does it.
double nanoseconds_a_record() {
  constexpr int kCalls = 2'000'000;
  Recorder recorder;
  const auto ring = recorder.make_ring({"data", "mpi", 1, {0, 1}, 0});
  recorder.enter(Phase::backward);
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const double begin = nanoseconds();
    for (int i = 0; i < kCalls; ++i) {
      CallRecord record{.kind = CommKind::all_reduce, .count = i, .site = recorder.site()};
      record.enqueued_ns = steady_ns();
      const RecordedCall call(ring, record);
      call.start();
      call.end();
    }
    best = std::min(best, (nanoseconds() - begin) / kCalls);
  }
  return best;
}

class Steps {
 public:
  /// The groups of `world` have the recorder that it has now.
  Steps(Communicator& world, const ParallelPlan& plan)
      : session_(ctx_, world, plan, config(), {.max_seq_len = kSeqLen, .seed = 1}) {
    const std::vector<int32_t> tokens(kRows * kSeqLen, 7);
    batch_ = make_micro_batch(ctx_, kRows, kSeqLen, tokens, tokens, session_.share());
  }
  double milliseconds_of_one() {
    const double begin = nanoseconds();
    MicroBatch batch = batch_;
    session_.step().apply(session_.step().forward_backward({&batch, 1}), 1e-4);
    return 1e-6 * (nanoseconds() - begin);
  }

 private:
  static ModelConfig config() {
    ModelConfig c = find_preset("gpt2-3m")->config;
    if (c.vocab_size == 0) c.vocab_size = 512;
    return c;
  }
  Context ctx_{{}, 1};
  TrainingSession session_;
  MicroBatch batch_;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

void compare(Communicator& world, const ParallelPlan& plan, int num_steps) {
  Recorder recorder;
  Steps without(world, plan);
  world.set_recorder(&recorder);
  Steps with(world, plan);
  std::vector<double> ms_with, ms_without, ratios;
  int64_t calls_before = 0;
  const auto num_calls = [&] {
    int64_t n = 0;
    for (const CommHistory& history : recorder.history()) n += history.num_calls;
    return n;
  };
  for (int i = -5; i < num_steps; ++i) {
    if (i == 0) calls_before = num_calls();
    // Each goes first as often.
    const bool is_first = i % 2 == 0;
    const double first = (is_first ? with : without).milliseconds_of_one();
    const double second = (is_first ? without : with).milliseconds_of_one();
    if (i < 0) continue;
    ms_with.push_back(is_first ? first : second);
    ms_without.push_back(is_first ? second : first);
    ratios.push_back(ms_with.back() / ms_without.back());
  }
  if (world.rank() != 0) return;
  const double calls = static_cast<double>(num_calls() - calls_before) / num_steps;
  fmt::print(
      "{} rank{}, {} of tensor: {:.3f} ms a step with, {:.3f} without; median ratio of neighbours {:.4f}; "
      "{:.1f} "
      "calls a step\n",
      world.size(), world.size() > 1 ? "s" : "", plan.tensor, median(ms_with), median(ms_without),
      median(ratios), calls);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using namespace trireme;
  const int num_steps = argc > 1 ? std::atoi(argv[1]) : 300;
  fmt::print("{:.1f} ns a record\n", nanoseconds_a_record());
  for (const auto& [num_ranks, tensor] : {std::pair(1, 1), {2, 1}, {2, 2}}) {
    run_thread_ranks(num_ranks, [&, degree = tensor](Communicator& world) {
      compare(world, {.tensor = degree}, num_steps);
    });
  }
}
