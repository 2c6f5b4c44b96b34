// Training on the tests' device, a GPU or the host's stand-in for one, follows the CPU in every layout.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/layout_run.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

struct Case {
  std::string name;
  ModelFamily family;
  int ranks;
  LayoutRun run;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Case make_case(const std::string& name, ModelFamily family, int ranks, const ParallelPlan& plan,
               const std::function<void(LayoutRun&)>& change = {}) {
  LayoutRun run;
  run.device = test_device();
  run.model = tiny_model(family);
  run.plan = plan;
  run.steps = 2;
  run.global_batch = 4;
  run.unequal_targets = true;
  run.options.bucket_bytes = 16 << 10;
  if (change) change(run);
  run.options.zero_stage = run.plan.zero_stage;
  return {name, family, ranks, run};
}

// Every second block a mixture, all terms of balance, a shared expert.
void with_experts(LayoutRun& run) {
  MoeConfig& moe = run.model.moe;
  moe.num_experts = 8;
  moe.experts_per_token = 2;
  moe.expert_ffn_size = 12;
  moe.shared_ffn_size = 10;
  moe.every = 2;
  moe.aux_loss = 0.05;
  moe.z_loss = 0.01;
}

std::vector<Case> cases() {
  using enum ModelFamily;
  return {
      make_case("Gpt2_alone", gpt2, 1, {}),
      make_case("Llama_alone", llama, 1, {}),
      make_case("Llama_recomputed", llama, 1, {},
                [](LayoutRun& run) { run.recomputation.mode = RecomputeMode::full; }),
      make_case("Gpt2_data2", gpt2, 2, {}),
      make_case("Llama_data2_zero1", llama, 2, {.zero_stage = 1}),
      make_case("Gpt2_data2_zero2", gpt2, 2, {.zero_stage = 2}),
      make_case("Llama_data2_zero3", llama, 2, {.zero_stage = 3}),
      make_case("Gpt2_tensor2", gpt2, 2, {.tensor = 2}),
      make_case("Llama_tensor2_sequence", llama, 2, {.tensor = 2, .sequence = true}),
      make_case("Llama_context2", llama, 2, {.context = 2}),
      make_case("Gpt2_pipeline2", gpt2, 2, {.pipeline = 2, .schedule = "1f1b"}),
      make_case("Llama_mixture_alone", llama, 1, {}, with_experts),
      make_case("Llama_mixture_data2_expert2", llama, 2, {.expert = 2}, with_experts),
      make_case("Llama_mixture_tensor2_chunks2", llama, 2,
                {.tensor = 2, .sequence = true, .tensor_chunks = 2}, with_experts),
      make_case("Llama_data2_tensor2_pipeline2", llama, 8,
                {.tensor = 2, .pipeline = 2, .zero_stage = 1, .schedule = "zb-h1"}),
  };
}

class DeviceTraining : public testing::TestWithParam<Case> {};

TEST_P(DeviceTraining, FollowsTheCpu) {
  const LayoutRun& run = GetParam().run;
  expect_follows(run_on_threads(GetParam().ranks, run), run_on_one_rank(run));
}

INSTANTIATE_TEST_SUITE_P(Layouts, DeviceTraining, testing::ValuesIn(cases()),
                         [](const auto& test_info) { return test_info.param.name; });

/// 16 bits: weights, activations and what ranks send each other, beside f32 masters.
TEST(DeviceTraining, SixteenBitsFollowTheCpu) {
  for (const DType precision : {DType::bf16, DType::f16}) {
    SCOPED_TRACE(to_string(precision));
    LayoutRun run = make_case("", ModelFamily::llama, 2, {.tensor = 2}).run;
    run.precision = precision;
    run.loss_scale = precision == DType::f16 ? 1024 : 1;
    expect_follows(run_on_threads(2, run), run_on_one_rank(run),
                   {.gradients = 0.06, .losses = 2e-3, .norms = 0.02, .later = 0.1});
  }
}

}  // namespace
}  // namespace trireme::test
