#include "models/cost/model_size.h"

#include <map>

#include <gmock/gmock.h>

#include "models/families/presets.h"

namespace trireme {
namespace {

const ModelConfig& preset(const char* name) {
  const Preset* found = find_preset(name);
  if (found == nullptr) throw std::runtime_error(name);
  return found->config;
}

TEST(ModelSize, PublishedTotals) {
  const std::map<const char*, int64_t> totals = {
      {"gpt2-124m", 124'439'808},     {"gpt2-355m", 354'823'168},       {"gpt2-774m", 774'030'080},
      {"gpt2-1.5b", 1'557'611'200},   {"llama3-1b", 1'235'814'400},     {"llama3-8b", 8'030'261'248},
      {"llama3-70b", 70'553'706'496}, {"llama3-405b", 405'853'388'800}, {"mobilellm-125m", 124'635'456},
      {"mobilellm-350m", 345'355'200}};
  for (const auto& [name, total] : totals) EXPECT_EQ(size_of(preset(name)).parameters, total) << name;
  EXPECT_NEAR(static_cast<double>(size_of(preset("gpt3-175b")).parameters), 174.6e9, 0.05e9);
  // Scaled down by MobileLLM's rules, and with layers that share.
  for (const char* size : {"15m", "60m", "125m", "350m"}) {
    const std::string name = std::string("mobilellm-") + size;
    EXPECT_EQ(size_of(preset((name + "-ls").c_str())).parameters, size_of(preset(name.c_str())).parameters);
  }
  EXPECT_EQ(size_of(preset("convolution-16m")).parameters, 16'189'632);
  EXPECT_EQ(size_of(preset("mobilebert-33m")).parameters, 33'320'960);
  EXPECT_NEAR(static_cast<double>(size_of(preset("mobilellm-15m")).parameters), 15.6e6, 0.05e6);
  EXPECT_NEAR(static_cast<double>(size_of(preset("mobilellm-60m")).parameters), 59.5e6, 0.05e6);
}

TEST(ModelSize, NonEmbeddingAndMatmulOfGpt2Small) {
  const ModelSize size = size_of(preset("gpt2-124m"));
  EXPECT_EQ(size.non_embedding, 124'439'808 - (50257 + 1024) * 768);
  EXPECT_EQ(size.matmul, 12 * 12 * 768 * 768 + 50257 * 768);
}

TEST(ModelSize, TableOfAGpt2Layer) {
  ModelConfig config = preset("gpt2-tiny");
  config.vocab_size = 11;
  config.num_layers = 1;
  std::vector<std::string> rows;
  for (const auto& row : parameter_table(config)) rows.push_back(row.name + " " + to_string(row.shape));
  EXPECT_THAT(rows, testing::ElementsAre(
                        "embedding.tokens.weight [11, 128]", "embedding.positions.weight [256, 128]",
                        "layers.0.attention_norm.gain [128]", "layers.0.attention_norm.bias [128]",
                        "layers.0.attention.query.weight [128, 128]", "layers.0.attention.query.bias [128]",
                        "layers.0.attention.key.weight [128, 128]", "layers.0.attention.key.bias [128]",
                        "layers.0.attention.value.weight [128, 128]", "layers.0.attention.value.bias [128]",
                        "layers.0.attention.output.weight [128, 128]", "layers.0.attention.output.bias [128]",
                        "layers.0.ffn_norm.gain [128]", "layers.0.ffn_norm.bias [128]",
                        "layers.0.ffn.up.weight [512, 128]", "layers.0.ffn.up.bias [512]",
                        "layers.0.ffn.down.weight [128, 512]", "layers.0.ffn.down.bias [128]",
                        "final_norm.gain [128]", "final_norm.bias [128]"));
}

TEST(ModelSize, TableOfALlamaLayerWithGroupedQueries) {
  ModelConfig config = preset("llama-tiny");
  config.vocab_size = 11;
  config.num_layers = 1;
  std::vector<std::string> rows;
  for (const auto& row : parameter_table(config)) rows.push_back(row.name + " " + to_string(row.shape));
  EXPECT_THAT(rows,
              testing::ElementsAre(
                  "embedding.tokens.weight [11, 128]", "layers.0.attention_norm.gain [128]",
                  "layers.0.attention.query.weight [128, 128]", "layers.0.attention.key.weight [64, 128]",
                  "layers.0.attention.value.weight [64, 128]", "layers.0.attention.output.weight [128, 128]",
                  "layers.0.ffn_norm.gain [128]", "layers.0.ffn.gate.weight [384, 128]",
                  "layers.0.ffn.up.weight [384, 128]", "layers.0.ffn.down.weight [128, 384]",
                  "final_norm.gain [128]", "head.weight [11, 128]"));
}

TEST(ModelSize, RmsNormHasNoBiasEvenWhereLinearLayersHaveOne) {
  ModelConfig config = preset("llama-tiny");
  config.vocab_size = 11;
  config.bias = BiasKind::all;
  for (const auto& row : parameter_table(config)) {
    EXPECT_FALSE(row.name.ends_with("norm.bias")) << row.name;
  }
  // A layer's biases: query, key, value, output, gate, up, down.
  const int64_t without = size_of(preset("llama-tiny")).non_embedding;
  EXPECT_EQ(size_of(config).non_embedding - without, 4 * (128 + 64 + 64 + 128 + 384 + 384 + 128));
}

TEST(ModelSize, FlopsByHand) {
  // GPT-2 small at 1024: 2 * 123,532,032 for the matrices, 2 * 1024 * 768 * 12 for causal attention.
  const double forward = 2.0 * 123'532'032 + 2.0 * 1024 * 768 * 12;
  EXPECT_DOUBLE_EQ(forward_flops_per_token(preset("gpt2-124m"), 1024), forward);
  EXPECT_DOUBLE_EQ(training_flops_per_token(preset("gpt2-124m"), 1024), 3 * forward);
}

TEST(ModelSize, FlopsOfWindowsAreThoseOfTheBlocksThatHaveThem) {
  ModelConfig config = preset("gpt2-124m");
  config.window = 64;
  config.window_from = 4;
  config.window_pattern = 3;  // of 11 blocks 4, 6, 7, 9 and 10
  config.num_layers = 11;
  const double keys = 6 * 1024 / 2.0 + 5 * (64 - 64.0 * 64 / 2048);
  const double matrices = 2.0 * (11 * 12 * 768 * 768 + 50257 * 768);
  EXPECT_DOUBLE_EQ(forward_flops_per_token(config, 1024), matrices + 4 * keys * 768);
}

TEST(ModelSize, RecomputedFlopsByHand) {
  const ModelConfig& config = preset("gpt2-124m");
  const double core = 2.0 * 1024 * 768, block = 2.0 * 12 * 768 * 768 + core;
  const auto flops = [&](const Recomputation& r) { return recomputed_flops_per_token(config, 1024, r); };
  EXPECT_EQ(flops({}), 0);
  EXPECT_DOUBLE_EQ(flops({RecomputeMode::selective}), 12 * core);
  EXPECT_DOUBLE_EQ(flops({RecomputeMode::full}), 12 * block);
  EXPECT_DOUBLE_EQ(flops({RecomputeMode::full, 5}), 3 * block);
}

TEST(ModelSize, StateOfFullAndHalfPrecision) {
  EXPECT_EQ(state_bytes(10, DType::f32).total(), 10 * (4 + 4 + 8));
  const StateBytes half = state_bytes(10, DType::bf16);
  EXPECT_EQ(half.weights, 20);
  EXPECT_EQ(half.optimizer, 120) << "moments and master weights";
}

TEST(ModelSize, OfFamiliesAsPublished) {
  EXPECT_EQ(size_of(preset("qwen3-0.6b")).parameters, 596'049'920);    // as Qwen/Qwen3-0.6B
  EXPECT_EQ(size_of(preset("gemma2-2b")).parameters, 2'614'341'888);   // as google/gemma-2-2b
  EXPECT_EQ(size_of(preset("mistral-7b")).parameters, 7'241'732'096);  // as mistralai/Mistral-7B-v0.1
}

// As their files have them, with tied tables once.
TEST(ModelSize, OfPublishedModelsInOtherFamilies) {
  const std::map<const char*, int64_t> totals = {
      {"smollm2-135m", 134'515'008},   {"smollm2-360m", 361'821'120}, {"smollm2-1.7b", 1'711'376'384},
      {"smollm3-3b", 3'075'098'624},   {"qwen2.5-0.5b", 494'032'768}, {"qwen2.5-7b", 7'615'616'512},
      {"qwen3-1.7b", 1'720'574'976},   {"qwen3-4b", 4'022'468'096},   {"qwen3-8b", 8'190'735'360},
      {"qwen3-14b", 14'768'307'200},   {"qwen3-32b", 32'762'123'264}, {"qwen3-30b-a3b", 30'532'122'624},
      {"gemma-2b", 2'506'172'416},     {"gemma3-1b", 999'885'952},    {"gemma3-4b", 3'880'263'168},
      {"phi3-mini-4k", 3'821'079'552}, {"olmo2-7b", 7'298'617'344},   {"mistral-nemo-12b", 12'247'782'400},
      {"pythia-160m", 162'322'944},    {"pythia-1b", 1'011'781'632},  {"pythia-6.9b", 6'857'302'016},
      {"neox-20b", 20'554'567'680}};
  for (const auto& [name, total] : totals) EXPECT_EQ(size_of(preset(name)).parameters, total) << name;
}

TEST(ModelSize, OfAMixtureATokenMeetsItsExpertsOnly) {
  const ModelSize size = size_of(find_preset("mixtral-8x7b")->config);
  EXPECT_EQ(size.parameters, 46702792704);  // as mistralai/Mixtral-8x7B-v0.1
  EXPECT_EQ(size.active, 12879925248);
  EXPECT_EQ(size.active - size.matmul, 32000LL * 4096 + 65 * 4096);  // table and gains
  const ModelSize fine = size_of(find_preset("deepseek-moe-16b")->config);
  EXPECT_NEAR(static_cast<double>(fine.parameters), 16.4e9, 0.05e9);  // arXiv 2401.06066, table 2
  EXPECT_NEAR(static_cast<double>(fine.active), 2.8e9, 0.05e9);
}

}  // namespace
}  // namespace trireme
