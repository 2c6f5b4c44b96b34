// The bubble that the executor leaves, beside the one its schedule states. The stages are equal and compute
// nothing: their passes last a fixed time each, so that any number of stages can be measured on any number of
// cores.
#include <cstdlib>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "parallel/pipeline/pipeline_executor.h"
#include "parallel/pipeline/simulate.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

// A layer whose three passes last equally long, as those of a Transformer about do.
class Waiting final : public Layer {
 public:
  explicit Waiting(Milliseconds time) : time_(time) {}
  Tensor forward(Context& ctx, const MicroBatch&, const Tensor&, Saved&) override { return pass(ctx); }
  Tensor backward_input(Context& ctx, const Tensor&, Saved&) override { return pass(ctx); }
  void backward_weight(Context& ctx, Saved&) override { pass(ctx); }
  void collect(std::vector<ParameterBlock*>&) override {}

 private:
  Tensor pass(Context& ctx) const {
    std::this_thread::sleep_for(time_);
    return Tensor::empty(ctx, {1, 1}, DType::f32);
  }
  Milliseconds time_;
};

double measured_bubble(const Schedule& schedule, Milliseconds stage_time) {
  double sum = 0;
  std::mutex mutex;
  run_thread_ranks(schedule.num_stages, [&](Communicator& world) {
    Context ctx;
    ModelPart part;
    for (int chunk = 0; chunk < schedule.num_chunks; ++chunk) {
      std::vector<std::unique_ptr<Layer>> layers;
      layers.push_back(std::make_unique<Waiting>(stage_time / schedule.num_chunks));
      part.chunks.emplace_back(std::move(layers));
    }
    part.boundary = {1, DType::f32, [](const TokenBatch&) { return int64_t{1}; }};
    std::vector<MicroBatch> micro_batches(static_cast<size_t>(schedule.num_micro_batches));
    PipelineExecutor executor(world, part);
    world.barrier(ctx.stream());
    executor.run(ctx, schedule, micro_batches);
    // All stages are timed from the common start to the end of the slowest.
    PipelineTimes times = executor.times();
    const Tensor total = Tensor::borrow(&times.total_s, {1}, DType::f64);
    world.all_reduce(ctx.stream(), total, ReduceOp::max);
    const std::lock_guard lock(mutex);
    sum += times.bubble();
  });
  return sum / schedule.num_stages;
}

int run(double milliseconds) {
  fmt::print("{:<12} {:>6} {:>13} {:>7} {:>9} {:>9} {:>6}\n", "schedule", "stages", "micro-batches", "chunks",
             "stated %", "measured %", "ratio");
  for (const int num_stages : {2, 4, 8}) {
    for (const int num_micro_batches : {num_stages, 4 * num_stages}) {
      for (const auto& [kind, name] : made_schedule_kinds()) {
        const Schedule schedule =
            make_schedule(kind, num_stages, num_micro_batches, kind == ScheduleKind::interleaved ? 2 : 1);
        const double stated = simulate(schedule).bubble;
        const double measured = measured_bubble(schedule, Milliseconds(milliseconds));
        fmt::print("{:<12} {:>6} {:>13} {:>7} {:>9.2f} {:>9.2f} {:>6.3f}\n", name, num_stages,
                   num_micro_batches, schedule.num_chunks, 100 * stated, 100 * measured, measured / stated);
        std::fflush(stdout);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace trireme

// Usage: pipeline_bubble_bench [MILLISECONDS]: the length of a stage's forward pass, and of either half of
// its backward pass; 10 unless given.
int main(int argc, char** argv) { return trireme::run(argc > 1 ? std::atof(argv[1]) : 10); }
