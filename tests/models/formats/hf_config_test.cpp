#include "models/formats/hf_config.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/config/weight_sharing.h"
#include "models/families/presets.h"
#include "models/formats/hf/architecture.h"
#include "models/formats/model_differences.h"
#include "runtime/base/error.h"
#include "tests/models/formats/published_configs.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using Json = nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

HfModel read(const char* text) { return read_hf_config(Json::parse(text), "config.json"); }
HfModel read(const Json& json) { return read_hf_config(json, "config.json"); }

/// The text with some keys of its own.
Json changed(const char* text, const Json& keys) {
  Json json = Json::parse(text);
  json.update(keys);
  return json;
}

std::string refusal(const Json& json) {
  try {
    read(json);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  return "";
}

TEST(HfConfig, Gpt2) {
  const auto [c, name] = read(test::kGpt2);
  EXPECT_EQ(name, "GPT2LMHeadModel");
  ModelConfig expected = find_preset("gpt2-124m")->config;
  EXPECT_THAT(model_differences(c, expected), testing::IsEmpty());
  EXPECT_EQ(c.max_positions, 1024);
  EXPECT_EQ(read(changed(test::kGpt2, {{"scale_attn_weights", false}})).config.query_scalar, 1);
  EXPECT_EQ(read(changed(test::kGpt2, {{"activation_function", "gelu"}})).config.activation,
            ActivationKind::gelu_erf);
  EXPECT_EQ(read(changed(test::kGpt2, {{"n_inner", 100}})).config.ffn_size, 100);
}

TEST(HfConfig, Llama) {
  const ModelConfig two = read(test::kLlama2).config;
  EXPECT_EQ(two.rotary_theta, 10000);
  EXPECT_EQ(two.rotary_scaling_factor, 1);
  EXPECT_EQ(two.max_positions, 4096);
  const ModelConfig small = read(test::kLlama32).config;
  EXPECT_THAT(model_differences(small, find_preset("llama3-1b")->config), testing::IsEmpty());
  const ModelConfig smol = read(test::kSmolLm2).config;
  EXPECT_EQ(smol.rotary_theta, 100000);
  EXPECT_EQ(smol.num_kv_heads, 3);
  EXPECT_TRUE(smol.tied_embeddings);
  EXPECT_EQ(read(changed(test::kLlama2, {{"attention_bias", true}})).config.bias, BiasKind::attention);
  EXPECT_EQ(read(changed(test::kLlama2, {{"attention_bias", true}, {"mlp_bias", true}})).config.bias,
            BiasKind::all);
}

TEST(HfConfig, AbsentKeysHaveTheDefaultsOfTransformers) {
  const ModelConfig c = read(Json{{"model_type", "llama"}}).config;
  EXPECT_EQ(c.num_kv_heads, 32);
  EXPECT_EQ(c.norm_eps, 1e-6);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_EQ(read(Json{{"model_type", "mistral"}}).config.window, 4096);
  EXPECT_EQ(read(changed(test::kMistral, {{"sliding_window", nullptr}})).config.window, 0);
  EXPECT_EQ(read(Json{{"model_type", "qwen3"}}).config.head_dim(), 128);
  EXPECT_EQ(read(Json{{"model_type", "mixtral"}}).config.rotary_theta, 1e6);
  EXPECT_EQ(read(Json{{"model_type", "smollm3"}}).config.rotary_theta, 2e6);
  EXPECT_TRUE(read(Json{{"model_type", "gemma3_text"}}).config.tied_embeddings);
  EXPECT_EQ(read(Json{{"model_type", "gemma3_text"}}).config.rotary_local_theta, 10000);
  EXPECT_EQ(read(Json{{"model_type", "gpt_neox"}}).config.rotary_dims, 24);
}

TEST(HfConfig, MixturesOfExperts) {
  const ModelConfig mixtral = read(test::kMixtral).config;
  EXPECT_THAT(model_differences(mixtral, find_preset("mixtral-8x7b")->config), testing::IsEmpty());
  EXPECT_EQ(mixtral.moe.aux_loss, 0.02);
  const ModelConfig qwen = read(test::kQwen3Moe).config;
  EXPECT_EQ(qwen.moe.num_experts, 128);
  EXPECT_EQ(qwen.moe.expert_ffn_size, 768);
  EXPECT_TRUE(qwen.moe.normalize_gates);
  const ModelConfig every = read(changed(test::kQwen3Moe, {{"decoder_sparse_step", 2}})).config;
  EXPECT_FALSE(every.moe.is_in(0));
  EXPECT_TRUE(every.moe.is_in(1));
  EXPECT_FALSE(every.moe.is_in(2));
  const ModelConfig first = read(changed(test::kQwen3Moe, {{"mlp_only_layers", {0, 1, 2}}})).config;
  EXPECT_EQ(first.moe.first_block, 3);
  EXPECT_EQ(first.moe.every, 1);
  EXPECT_THAT(refusal(changed(test::kQwen3Moe, {{"mlp_only_layers", {5}}})),
              HasSubstr("mlp_only_layers [5]"));
}

TEST(HfConfig, Windows) {
  const ModelConfig gemma2 = read(test::kGemma2).config;
  EXPECT_THAT(model_differences(gemma2, find_preset("gemma2-2b")->config), testing::IsEmpty());
  const ModelConfig gemma3 = read(test::kGemma3).config;
  EXPECT_EQ(gemma3.window_pattern, 6);
  EXPECT_EQ(gemma3.window, 512);
  EXPECT_EQ(gemma3.rotary_theta, 1e6);
  EXPECT_EQ(gemma3.rotary_local_theta, 10000);
  const Json use = {{"use_sliding_window", true}, {"max_window_layers", 20}};
  const ModelConfig qwen = read(changed(test::kQwen25, use)).config;
  EXPECT_EQ(qwen.window_from, 20);
  EXPECT_EQ(qwen.window_of(19), 0);
  EXPECT_EQ(qwen.window_of(20), 32768);
  EXPECT_EQ(read(test::kQwen25).config.window, 0);
  Json types = Json::array();
  for (int i = 0; i < 24; ++i) types.push_back(i == 7 ? "sliding_attention" : "full_attention");
  const Json odd = changed(test::kQwen25, {{"use_sliding_window", true}, {"layer_types", types}});
  EXPECT_THAT(refusal(odd), HasSubstr("layer_types"));
  types[7] = "chunked_attention";
  EXPECT_THAT(refusal(changed(test::kQwen25, {{"layer_types", types}})), HasSubstr("chunked_attention"));
}

TEST(HfConfig, OthersOfTheirFamilies) {
  EXPECT_EQ(read(test::kQwen25).config.bias, BiasKind::qkv);
  EXPECT_THAT(model_differences(read(test::kQwen3).config, find_preset("qwen3-0.6b")->config),
              testing::IsEmpty());
  const ModelConfig gemma = read(test::kGemma).config;
  EXPECT_EQ(gemma.activation, ActivationKind::geglu);
  EXPECT_TRUE(gemma.scales_embedding);
  EXPECT_EQ(gemma.num_kv_heads, 1);
  const ModelConfig olmo = read(test::kOlmo2).config;
  EXPECT_EQ(olmo.norm_placement, NormPlacement::after);
  EXPECT_EQ(olmo.qk_norm, QkNormKind::projection);
  const ModelConfig smol = read(test::kSmolLm3).config;
  EXPECT_EQ(smol.no_rotary_every, 4);
  EXPECT_TRUE(smol.tied_embeddings);
  const ModelConfig pythia = read(test::kPythia).config;
  EXPECT_EQ(pythia.rotary_dims, 16);
  EXPECT_TRUE(pythia.parallel_residual);
  EXPECT_EQ(pythia.activation, ActivationKind::gelu_erf);
  EXPECT_FALSE(read(changed(test::kPythia, {{"use_parallel_residual", false}})).config.parallel_residual);
}

TEST(HfConfig, ScalingsOfRope) {
  const ModelConfig phi = read(test::kPhi3Long).config;
  EXPECT_EQ(phi.rotary_scaling, RotaryScaling::longrope);
  EXPECT_EQ(phi.rotary_dims, 12);
  EXPECT_EQ(phi.rotary_scaling_factor, 32);
  EXPECT_EQ(phi.rotary_original_positions, 4096);
  EXPECT_THAT(phi.rotary_long_factors, testing::ElementsAre(1.5, 2, 4, 8, 16, 32));
  const auto with = [](const Json& scaling) { return changed(test::kLlama2, {{"rope_scaling", scaling}}); };
  const ModelConfig linear = read(with({{"type", "linear"}, {"factor", 2.0}})).config;
  EXPECT_EQ(linear.rotary_scaling, RotaryScaling::linear);
  EXPECT_EQ(linear.rotary_scaling_factor, 2);
  const ModelConfig yarn =
      read(with({{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 1024}})).config;
  EXPECT_EQ(yarn.rotary_scaling, RotaryScaling::yarn);
  EXPECT_EQ(yarn.rotary_original_positions, 1024);
  EXPECT_EQ(yarn.rotary_attention_factor, 0);
  EXPECT_THAT(refusal(with({{"type", "dynamic"}, {"factor", 2.0}})),
              AllOf(HasSubstr("rope_scaling.type \"dynamic\""), HasSubstr("without rope_scaling")));
  EXPECT_THAT(refusal(with({{"rope_type", "llama3"}, {"factor", 8.0}})), HasSubstr("low_freq_factor"));
  EXPECT_THAT(refusal(with({{"type", "linear"}, {"factor", 0.5}})), HasSubstr("rope_scaling.factor 0.5"));
  EXPECT_THAT(refusal(changed(test::kPhi3Long, {{"partial_rotary_factor", 0.5}})), HasSubstr("short_factor"));
}

TEST(HfConfig, BothSpellingsOfRopeMeanTheSame) {
  Json now = Json::parse(test::kLlama32);
  Json rope = now["rope_scaling"];
  rope["rope_theta"] = now["rope_theta"];
  now.erase("rope_scaling");
  now.erase("rope_theta");
  now["rope_parameters"] = rope;
  EXPECT_EQ(read(now).config, read(test::kLlama32).config);
  Json gemma = Json::parse(test::kGemma3);
  for (const char* key : {"rope_scaling", "rope_theta", "rope_local_base_freq", "sliding_window_pattern"})
    gemma.erase(key);
  gemma["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 1000000}}},
                              {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000}}}};
  EXPECT_EQ(read(gemma).config, read(test::kGemma3).config);
}

TEST(HfConfig, WhatCannotBeRepresentedIsNamed) {
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"mlp_bias", true}})), HasSubstr("mlp_bias true"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"hidden_act", "relu2"}, {"vocab_size", "many"}})),
              AllOf(HasSubstr("hidden_act \"relu2\""), HasSubstr("silu"), HasSubstr("vocab_size \"many\"")));
  EXPECT_THAT(refusal(changed(test::kGpt2, {{"scale_attn_by_inverse_layer_idx", true}})),
              HasSubstr("scale_attn_by_inverse_layer_idx true"));
  EXPECT_THAT(refusal(changed(test::kPythia, {{"attention_bias", false}})),
              HasSubstr("attention_bias false"));
  EXPECT_THAT(refusal(changed(test::kGemma3, {{"use_bidirectional_attention", true}})),
              HasSubstr("use_bidirectional_attention"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"quantization_config", {{"bits", 4}}}})),
              HasSubstr("quantization_config"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"num_attention_heads", 7}})),
              HasSubstr("num_attention_heads 7"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"num_hidden_layers", 100000}})),
              HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"partial_rotary_factor", 0.5}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"hidden_size", -4}})), HasSubstr("hidden_size -4"));
}

TEST(HfConfig, OtherArchitecturesAreRefusedByName) {
  const auto named = [](const char* name) {
    return refusal(Json{{"architectures", {name}}, {"model_type", "x"}});
  };
  EXPECT_THAT(named("DeepseekV3ForCausalLM"), HasSubstr("latent"));
  EXPECT_THAT(named("GptOssForCausalLM"), HasSubstr("sinks"));
  EXPECT_THAT(named("MambaForCausalLM"), HasSubstr("state-space"));
  EXPECT_THAT(named("BertForMaskedLM"), HasSubstr("encoder"));
  EXPECT_THAT(named("T5ForConditionalGeneration"), HasSubstr("encoders"));
  EXPECT_THAT(named("Gemma3ForConditionalGeneration"),
              AllOf(HasSubstr("python3 -c"), HasSubstr("text_config")));
  EXPECT_THAT(named("SomethingForCausalLM"), AllOf(HasSubstr("not known"), HasSubstr("LlamaForCausalLM")));
  EXPECT_THAT(refusal(changed(test::kLlama2, {{"architectures", {"LlamaForSequenceClassification"}}})),
              HasSubstr("classes"));
  EXPECT_EQ(read(changed(test::kLlama2, {{"architectures", {"LlamaModel"}}})).architecture,
            "LlamaForCausalLM");
  EXPECT_THAT(refusal(Json::object()), HasSubstr("neither"));
  EXPECT_THAT(refusal(Json::array()), HasSubstr("object"));
}

TEST(HfConfig, AnUnchangedModelKeepsItsFile) {
  for (const char* text : test::kPublished) {
    const Json original = Json::parse(text);
    const HfModel model = read(original);
    const Json out = write_hf_config(model.config, original, DType::bf16, model.config.vocab_size);
    Json expected = original;
    expected[original.contains("dtype") ? "dtype" : "torch_dtype"] = "bfloat16";
    EXPECT_EQ(out.dump(), expected.dump());
  }
}

TEST(HfConfig, AFileOfItsOwnReadsBackAsTheModel) {
  for (const char* text : test::kPublished) {
    const HfModel model = read(text);
    EXPECT_EQ(hf_architecture_of(model.config), model.architecture);
    const Json out = write_hf_config(model.config, nullptr, DType::f32, model.config.vocab_size);
    std::vector<std::string> keys;
    for (const auto& [key, unused] : out.items()) keys.push_back(key);
    EXPECT_TRUE(std::ranges::is_sorted(keys));
    const HfModel back = read(out);
    EXPECT_EQ(back.architecture, model.architecture);
    EXPECT_THAT(model_differences(back.config, model.config), testing::IsEmpty()) << out.dump(1);
    EXPECT_EQ(back.config.max_positions, model.config.max_positions);
    EXPECT_EQ(back.config.init_std, model.config.init_std);
  }
}

TEST(HfConfig, PresetsThatTransformersKnowsAreWritten) {
  for (const auto& [preset, architecture] :
       {std::pair("gpt2-124m", "GPT2LMHeadModel"), std::pair("llama3-8b", "LlamaForCausalLM"),
        std::pair("mistral-7b", "MistralForCausalLM"), std::pair("mixtral-tiny", "MixtralForCausalLM"),
        std::pair("qwen3-0.6b", "Qwen3ForCausalLM"), std::pair("gemma2-2b", "Gemma2ForCausalLM")}) {
    const ModelConfig config = find_preset(preset)->config;
    EXPECT_EQ(hf_architecture_of(config), architecture);
    const HfModel back = read(write_hf_config(config, nullptr, DType::f32, 1000));
    EXPECT_EQ(back.config.vocab_size, 1000);
  }
}

TEST(HfConfig, WhatChangesReplacesItsKeysAlone) {
  const Json original = Json::parse(test::kSmolLm2);
  ModelConfig model = read(original).config;
  model.rotary_theta = 50000;
  const Json out = write_hf_config(model, original, DType::f32, 49280);
  EXPECT_EQ(out["vocab_size"], 49280);
  EXPECT_EQ(out["is_llama_config"], true);
  EXPECT_EQ(out["dtype"], "float32");
  EXPECT_FALSE(out.contains("rope_parameters"));
  EXPECT_EQ(read(out).config.rotary_theta, 50000);
}

TEST(HfConfig, AModelThatTransformersHasNotIsNamed) {
  ModelConfig model = find_preset("gpt2-tiny")->config;
  model.share = 2;
  test::expect_error(ExitCode::usage, {"model.share 2"}, [&] { hf_architecture_of(model); });
  model.share = 0;
  model.weights_from = neighbours_sharing(model.num_layers);
  test::expect_error(ExitCode::usage, {"model.share pairs"}, [&] { hf_architecture_of(model); });
  ModelConfig deep = find_preset("deepseek-tiny")->config;
  test::expect_error(ExitCode::usage, {"moe.score sigmoid"}, [&] { hf_architecture_of(deep); });
  EXPECT_EQ(hf_architecture_of(find_preset("mobilellm-125m")->config), "LlamaForCausalLM");
  test::expect_error(ExitCode::usage, {"model.convolution 4"},
                     [] { hf_architecture_of(find_preset("convolution-16m")->config); });
  test::expect_error(ExitCode::usage, {"model.bottleneck 128"},
                     [] { hf_architecture_of(find_preset("mobilebert-33m")->config); });
}

TEST(HfConfig, FilesThatAreNoConfigurations) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path("config.json");
  const auto expect = [&](const std::string& text, const char* words) {
    folder.write("config.json", text);
    test::expect_error(ExitCode::bad_input, {words}, [&] { read_ordered_json(path); });
  };
  expect("{", "not JSON");
  expect(R"({"a": 1, "a": 2})", "twice");
  expect(std::string(100, '[') + std::string(100, ']'), "deep");
  std::string many = "{";
  for (int i = 0; i < 5000; ++i) many += fmt::format("{}\"{}\":1", i == 0 ? "" : ",", i);
  expect(many + "}", "members");
}

// Mixtral's files have one width: that of the experts, as no block has another.
TEST(HfConfig, FieldsMaySayTogetherWhatOthersSay) {
  ModelConfig mine = find_preset("mixtral-8x7b")->config;
  mine.ffn_size = 96, mine.moe.expert_ffn_size = 24;
  const HfModel back = read_hf_config(write_hf_config(mine, nullptr, DType::f32, 300), "config.json");
  mine.vocab_size = 300;
  EXPECT_EQ(back.config.expert_ffn_size(), 24);
  EXPECT_THAT(model_differences(mine, back.config), testing::IsEmpty());
  EXPECT_TRUE(compute_the_same(mine, back.config));
}

}  // namespace
}  // namespace trireme
