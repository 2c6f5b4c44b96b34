#include "tests/support/memory_run.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <mutex>

#include <gtest/gtest.h>

#include "models/cost/layer_placement.h"
#include "parallel/module/routing_observer.h"
#include "parallel/pipeline/plan_schedule.h"
#include "runtime/base/philox.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/drawn_layout.h"

namespace trireme::test {

namespace {

/// Replaces what routers choose: experts in turn, so that all have as much to do; or for all tokens the same.
class Choices : public RoutingObserver {
 public:
  explicit Choices(ExpertLoad load) : load_(load) {}
  void after_choice(Context&, const MicroBatch&, const RouterBalance&, const Tensor& logits,
                    const Tensor& chosen, const Tensor&) override {
    const int64_t experts = logits.dim(1), k = chosen.dim(1);
    for (int64_t i = 0; i < chosen.numel(); ++i)
      chosen.data<int32_t>()[i] = static_cast<int32_t>(load_ == ExpertLoad::even ? i % experts : i % k);
  }

 private:
  ExpertLoad load_;
};

}  // namespace

MemoryComparison compare_memory(LayoutRun run, ExpertLoad load) {
  Choices choices(load);
  run.routing = &choices;
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
                      .sharding = sharding_of(run.plan, run.master, run.rules),
                      .recomputation = run.recomputation,
                      .float8 = run.float8,
                      .loss = run.loss,
                      .exits = run.exits,
                      .separate_documents = run.end_of_text.has_value(),
                      .threads = run.num_threads,
                      .expert_load = load};
  if (run.plan.pipeline > 1) {
    inputs.placement = layer_placement(run.model, run.seq_len, run.plan);
    inputs.schedule =
        std::make_shared<const Schedule>(training_schedule(run.plan, static_cast<int>(inputs.accumulation)));
  }
  comparison.predicted = estimate_memory(inputs);
  return comparison;
}

LayoutRun draw_memory_layout(uint64_t seed, bool with_experts) {
  uint64_t at = seed * 64;  // the layouts drawn for a seed, until one is of the kind
  LayoutRun run = draw_layout(at);
  while ((run.model.moe.num_experts > 0) != with_experts) run = draw_layout(++at);
  auto draw = [&, n = uint64_t{0}](std::initializer_list<int64_t> values) mutable {
    return values.begin()[philox4x32(seed, n++, 17)[0] % values.size()];
  };
  ModelConfig& model = run.model;
  const int64_t head_dim = draw({16, 32});
  model.num_heads = 4;
  if (model.num_kv_heads == 4) model.num_kv_heads = draw({2, 4});
  model.hidden_size = model.num_heads * head_dim;
  model.ffn_size = draw({100, 192, 256});
  model.vocab_size = draw({211, 384, 600});
  run.seq_len = draw({64, 96, 128});
  model.max_positions = run.seq_len;
  run.micro_batch = run.micro_batch == 1 ? draw({1, 2}) : draw({2, 4});
  const int64_t accumulation = std::max<int64_t>(run.global_batch / run.plan.data / 2, 1);
  run.global_batch = run.micro_batch * run.plan.data * accumulation;
  run.precision = draw({0, 1}) == 0 ? DType::f32 : DType::bf16;
  if (!with_experts) return run;
  MoeConfig& moe = model.moe;
  moe.expert_ffn_size = draw({48, 64, 112});
  if (moe.shared_ffn_size > 0) moe.shared_ffn_size = draw({40, 96});
  moe.experts_per_token = draw({1, 2, 4});
  moe.normalize_gates = moe.experts_per_token > 1;
  moe.capacity_factor = draw({0, 1}) == 0 ? 1.25 : 1;
  return run;
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
