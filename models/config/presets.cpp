#include "models/config/presets.h"

#include <vector>

namespace trireme {

namespace {

struct Sizes {
  int64_t layers, hidden, heads, kv_heads, ffn, positions, vocab;
};

ModelConfig sized(std::string_view name, ModelFamily family, const Sizes& sizes) {
  ModelConfig config;
  apply_family(config, family);
  config.name = name;
  config.num_layers = sizes.layers;
  config.hidden_size = sizes.hidden;
  config.num_heads = sizes.heads;
  config.num_kv_heads = sizes.kv_heads;
  config.ffn_size = sizes.ffn;
  config.max_positions = sizes.positions;
  config.vocab_size = sizes.vocab;
  return config;
}

ModelConfig gpt2(std::string_view name, int64_t layers, int64_t hidden, int64_t heads,
                 int64_t positions = 1024, int64_t vocab = 50257) {
  return sized(name, ModelFamily::gpt2, {layers, hidden, heads, heads, 4 * hidden, positions, vocab});
}

ModelConfig llama(std::string_view name, const Sizes& sizes) {
  return sized(name, ModelFamily::llama, sizes);
}

ModelConfig llama3(std::string_view name, const Sizes& sizes, double scaling, bool tied = false) {
  ModelConfig config = llama(name, sizes);
  config.rotary_theta = 500000;
  config.rotary_scaling_factor = scaling;
  config.tied_embeddings = tied;
  return config;
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

std::vector<Preset> make_presets() {
  constexpr int64_t kLong = 131072, kLlamaVocab = 128256;
  return {
      {gpt2("gpt2-tiny", 4, 128, 4, 256, 0), "0.8M besides the vocabulary: seconds on a laptop"},
      {gpt2("gpt2-3m", 4, 256, 4, 256, 0), "3M besides the vocabulary: minutes on two cores"},
      {gpt2("gpt2-10m", 6, 384, 6, 256, 0), "11M besides the vocabulary (nanoGPT's character model)"},
      {gpt2("gpt2-124m", 12, 768, 12), "GPT-2 small (Radford et al. 2019)"},
      {gpt2("gpt2-355m", 24, 1024, 16), "GPT-2 medium"},
      {gpt2("gpt2-774m", 36, 1280, 20), "GPT-2 large"},
      {gpt2("gpt2-1.5b", 48, 1600, 25), "GPT-2 XL"},
      {gpt2("gpt3-175b", 96, 12288, 96, 2048), "GPT-3 (arXiv 2005.14165, table 2.1), all layers dense"},
      {llama("llama-tiny", {4, 128, 4, 2, 384, 256, 0}), "0.8M besides the vocabulary: seconds on a laptop"},
      {llama("llama-10m", {6, 384, 6, 2, 1024, 256, 0}), "9M besides the vocabulary: minutes on two cores"},
      {llama3("llama3-1b", {16, 2048, 32, 8, 8192, kLong, kLlamaVocab}, 32, true), "Llama 3.2 1B: tied head"},
      {llama3("llama3-8b", {32, 4096, 32, 8, 14336, kLong, kLlamaVocab}, 8),
       "Llama 3.1 8B (arXiv 2407.21783); 3.0 is --model.rotary-scaling 1 --model.max-positions 8192"},
      {llama3("llama3-70b", {80, 8192, 64, 8, 28672, kLong, kLlamaVocab}, 8), "Llama 3.1 70B"},
      {llama3("llama3-405b", {126, 16384, 128, 8, 53248, kLong, kLlamaVocab}, 8), "Llama 3.1 405B"},
      {mixtral(llama("mixtral-tiny", {4, 128, 4, 2, 192, 256, 0})),
       "8 experts, 2 a token: seconds on a laptop, as much work a token as llama-tiny"},
      {fine_grained(llama("deepseek-tiny", {4, 128, 4, 2, 384, 256, 0})),
       "16 narrow experts, 4 a token, and a shared one: sigmoid scores, groups, balanced by biases"},
      {switch_like(gpt2("switch-tiny", 4, 128, 4, 256, 0), 8),
       "gpt2-tiny with 8 experts, 1 a token, in every other block"},
      {switch_like(gpt2("switch-124m-e8", 12, 768, 12), 8),
       "gpt2-124m with 8 experts, 1 a token, in every other block (arXiv 2101.03961)"},
      {deepseek_16b(), "DeepSeekMoE 16B (arXiv 2401.06066)"},
      {mixtral(mixtral_8x7b()), "Mixtral 8x7B (arXiv 2401.04088)"},
  };
}

}  // namespace

std::span<const Preset> presets() {
  static const std::vector<Preset> all = make_presets();
  return all;
}

const Preset* find_preset(std::string_view name) {
  for (const Preset& preset : presets()) {
    if (preset.config.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace trireme
