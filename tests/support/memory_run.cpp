#include "tests/support/memory_run.h"

#include <algorithm>
#include <mutex>

#include <gtest/gtest.h>

#include "models/cost/memory_inputs.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme::test {

MemoryComparison compare_memory(LayoutRun run) {
  run.steps = 2;
  run.gradients = false;
  MemoryComparison comparison;
  std::mutex mutex;
  run_thread_ranks(run.plan.world_size(), [&](Communicator& world) {
    const LayoutResult result = run_layout(world, run);
    const std::lock_guard lock(mutex);
    for (size_t i = 0; i < kNumMemoryCategories; ++i) {
      comparison.measured.bytes[i] = std::max(comparison.measured.bytes[i], result.peak_bytes[i]);
    }
  });
  MemoryInputs inputs{.model = run.model,
                      .precision = run.precision,
                      .micro_batch = run.micro_batch,
                      .seq_len = run.seq_len,
                      .accumulation = run.global_batch / (run.micro_batch * run.plan.data),
                      .plan = run.plan,
                      .sharding = sharding_of(run.plan, run.master),
                      .recomputation = run.recomputation,
                      .float8 = run.float8,
                      .threads = run.num_threads};
  if (run.plan.pipeline > 1) {
    inputs.placement = layer_placement(run.model, run.seq_len, run.plan);
    inputs.in_flight = pairs_in_flight(run.plan, static_cast<int>(inputs.accumulation));
  }
  comparison.predicted = estimate_memory(inputs);
  return comparison;
}

void expect_memory_as_predicted(const LayoutRun& run) {
  const MemoryComparison memory = compare_memory(run);
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    const auto category = static_cast<MemoryCategory>(i);
    const auto measured = static_cast<double>(memory.measured[category]),
               predicted = static_cast<double>(memory.predicted[category]);
    const double tolerance = std::max(0.1 * predicted, 65536.0);
    const double workspace = category == MemoryCategory::buffers ? 1.5 * (1 << 20) * run.num_threads : 0;
    EXPECT_GE(measured, predicted - tolerance) << to_string(category);
    EXPECT_LE(measured, predicted + tolerance + workspace) << to_string(category);
  }
}

}  // namespace trireme::test
