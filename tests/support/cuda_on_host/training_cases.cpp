#include "tests/support/cuda_on_host/training_cases.h"

#include "tests/support/test_device.h"

namespace trireme::test {

TrainingCase make_training_case(const std::string& name, ModelFamily family, int ranks,
                                const ParallelPlan& plan, const std::function<void(LayoutRun&)>& change) {
  LayoutRun run;
  run.device = test_device();
  run.settings = test_settings();
  run.model = tiny_model(family);
  run.plan = plan;
  run.steps = 2;
  run.global_batch = 4;
  run.unequal_targets = true;
  run.plan.bucket_mib = in_mib(16 << 10);
  if (change) change(run);
  return {name, ranks, run};
}

namespace {

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

}  // namespace

std::vector<TrainingCase> training_cases() {
  using enum ModelFamily;
  return {
      make_training_case("Gpt2_alone", gpt2, 1, {}),
      make_training_case("Llama_alone", llama, 1, {}),
      make_training_case("Llama_recomputed", llama, 1, {},
                         [](LayoutRun& run) { run.recomputation.mode = RecomputeMode::full; }),
      make_training_case("Gpt2_data2", gpt2, 2, {}),
      make_training_case("Llama_data2_zero1", llama, 2, {.zero_stage = 1}),
      make_training_case("Gpt2_data2_zero2", gpt2, 2, {.zero_stage = 2}),
      make_training_case("Llama_data2_zero3", llama, 2, {.zero_stage = 3}),
      make_training_case("Gpt2_tensor2", gpt2, 2, {.tensor = 2}),
      make_training_case("Llama_tensor2_sequence", llama, 2, {.tensor = 2, .sequence = true}),
      make_training_case("Llama_context2", llama, 2, {.context = 2}),
      make_training_case("Gpt2_pipeline2", gpt2, 2, {.pipeline = 2, .schedule = ScheduleKind::one_f_one_b}),
      make_training_case("Llama_mixture_alone", llama, 1, {}, with_experts),
      make_training_case("Llama_mixture_data2_expert2", llama, 2, {.expert = 2}, with_experts),
      make_training_case("Llama_mixture_tensor2_chunks2", llama, 2,
                         {.tensor = 2, .sequence = true, .tensor_chunks = 2}, with_experts),
      make_training_case("Olmo2_tensor2_sequence", olmo2, 2, {.tensor = 2, .sequence = true}),
      make_training_case("Neox_tensor2", neox, 2, {.tensor = 2}),
      make_training_case("Llama_data2_tensor2_pipeline2", llama, 8,
                         {.tensor = 2, .pipeline = 2, .zero_stage = 1, .schedule = ScheduleKind::zb_h1}),
  };
}

}  // namespace trireme::test
