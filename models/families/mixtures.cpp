// Presets of mixtures of experts.
#include "models/families/table.h"

namespace trireme {

namespace {

ModelConfig gpt2(std::string_view name, int64_t layers, int64_t hidden, int64_t heads, int64_t positions,
                 int64_t vocab) {
  return sized_model(name, ModelFamily::gpt2, {layers, hidden, heads, heads, 4 * hidden, positions, vocab});
}

ModelConfig llama(std::string_view name, const ModelSizes& sizes) {
  return sized_model(name, ModelFamily::llama, sizes);
}

ModelConfig mixtral_8x7b() {
  ModelConfig config = llama("mixtral-8x7b", {32, 4096, 32, 8, 14336, 32768, 32000});
  config.rotary_theta = 1e6;
  return config;
}

ModelConfig with_experts(ModelConfig config, const MoeConfig& moe) {
  config.moe = moe;
  return config;
}

// Mixtral's router (arXiv 2401.04088): the two best of eight, gates from a softmax over the two.
ModelConfig mixtral(ModelConfig config) {
  return with_experts(std::move(config), {.num_experts = 8, .aux_loss = 0.02});
}

// Qwen3's router: the eight best of 128 narrow experts, gates that sum to 1.
ModelConfig qwen3_30b() {
  ModelConfig config =
      sized_model("qwen3-30b-a3b", ModelFamily::qwen3, {48, 2048, 32, 4, 6144, 40960, 151936});
  return with_experts(
      std::move(config),
      {.num_experts = 128, .experts_per_token = 8, .expert_ffn_size = 768, .aux_loss = 0.001});
}

// Switch (arXiv 2101.03961): one expert a token in every other block, with a limited room.
ModelConfig switch_like(ModelConfig config, int64_t num_experts) {
  return with_experts(std::move(config), {.num_experts = num_experts,
                                          .experts_per_token = 1,
                                          .first_block = 1,
                                          .every = 2,
                                          .normalize_gates = false,
                                          .capacity = CapacityMode::drop});
}

// DeepSeekMoE 16B (arXiv 2401.06066): 64 narrow experts and two shared ones, the first block dense.
ModelConfig deepseek_16b() {
  return with_experts(llama("deepseek-moe-16b", {28, 2048, 16, 16, 10944, 4096, 102400}),
                      {.num_experts = 64,
                       .experts_per_token = 6,
                       .expert_ffn_size = 1408,
                       .shared_ffn_size = 2 * 1408,
                       .first_block = 1,
                       .normalize_gates = false,
                       .aux_loss = 0.001});
}

// The router of DeepSeek-V3 (arXiv 2412.19437): sigmoids, groups, biases that balance.
ModelConfig fine_grained(ModelConfig config) {
  return with_experts(std::move(config), {.num_experts = 16,
                                          .experts_per_token = 4,
                                          .expert_ffn_size = 96,
                                          .shared_ffn_size = 96,
                                          .first_block = 1,
                                          .score = RouterScore::sigmoid,
                                          .num_groups = 4,
                                          .groups_per_token = 2,
                                          .aux_loss = 0.0001,
                                          .bias_rate = 0.001});
}

}  // namespace

std::vector<Preset> mixture_presets() {
  return {
      {mixtral(llama("mixtral-tiny", {4, 128, 4, 2, 192, 256, 0})),
       "8 experts, top-2: seconds on a laptop; as many FLOPs per token as llama-tiny"},
      {fine_grained(llama("deepseek-tiny", {4, 128, 4, 2, 384, 256, 0})),
       "16 small experts, top-4, and a shared one: sigmoid scores, expert groups, auxiliary-loss-free "
       "balancing"},
      {switch_like(gpt2("switch-tiny", 4, 128, 4, 256, 0), 8),
       "gpt2-tiny with 8 experts, top-1, in every other block"},
      {switch_like(gpt2("switch-124m-e8", 12, 768, 12, 1024, 50257), 8),
       "gpt2-124m with 8 experts, top-1, in every other block (arXiv 2101.03961)"},
      {deepseek_16b(), "DeepSeekMoE 16B (arXiv 2401.06066)"},
      {qwen3_30b(), "Qwen3 30B-A3B: 128 experts, top-8 (arXiv 2505.09388)"},
      {mixtral(mixtral_8x7b()), "Mixtral 8x7B (arXiv 2401.04088)"},
  };
}

}  // namespace trireme
