// Models in GGUF files: what is written is read back, and what cannot be held is refused by name.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/config/weight_sharing.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_differences.h"
#include "models/formats/gguf_model_file.h"
#include "models/formats/gguf_tensors.h"
#include "models/formats/gguf_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/io/gguf/rotary_rows.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using testing::HasSubstr;

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "nothing was refused";
}

std::string write(const TemporaryFolder& folder, const ModelConfig& config, GgufFileType type) {
  const std::string file = folder.path("model.gguf");
  const GgufModel model = write_gguf_config(config);
  write_gguf_model(file, config, model, gguf_metadata(model, type, {}, {}), type, {drawn_weights(config)});
  return file;
}

TEST(GgufModels, ComeBackAsTheyWere) {
  const TemporaryFolder folder;
  for (const GgufCase& one : gguf_cases()) {
    SCOPED_TRACE(one.architecture + " " + fmt::to_string(static_cast<int>(one.config.family)));
    EXPECT_EQ(gguf_architecture_of(one.config), one.architecture);
    const std::string file = write(folder, one.config, GgufFileType::f32);
    const ModelConfig back = read_gguf_config(GgufReader(file));
    EXPECT_EQ(text_of(gguf_differences(one.config, back)), "");
    EXPECT_EQ(back.max_positions, one.config.max_positions);
    EXPECT_EQ(back.family, one.config.family);
    // Written again it is the same file.
    EXPECT_EQ(write_gguf_config(back).metadata, write_gguf_config(one.config).metadata);
    const auto source = open_gguf_weights(file, back);
    const auto kinds = source->kinds();
    const ParameterValues values = drawn_weights(one.config);
    const std::vector<Parameter> parameters = parameters_of(back);
    EXPECT_EQ(kinds.size(), parameters.size());
    for (const Parameter& p : parameters) {
      std::vector<float> read(static_cast<size_t>(p.global_shape.numel()));
      source->read(p.name, p, read);
      ASSERT_EQ(read, values(p.name)) << p.name;
    }
  }
}

TEST(GgufModels, GiveEachRankItsPart) {
  const TemporaryFolder folder;
  for (const GgufCase& one : gguf_cases()) {
    const auto source = open_gguf_weights(write(folder, one.config, GgufFileType::q8_0), one.config);
    for (Parameter p : parameters_of(one.config)) {
      std::vector<float> whole(static_cast<size_t>(p.global_shape.numel()));
      source->read(p.name, p, whole);
      const int64_t columns = p.global_shape.rank() == 2 ? p.global_shape[1] : 1;
      Parameter part = p;
      const int64_t rows = p.global_shape[0];
      part.offset = columns > 1 ? Shape{rows / 4, columns / 8} : Shape{rows / 4};
      part.shape = columns > 1 ? Shape{rows / 2, columns / 2} : Shape{rows / 2};
      std::vector<float> read(static_cast<size_t>(part.shape.numel())), expected;
      source->read(p.name, part, read);
      for (int64_t row = 0; row < part.shape[0]; ++row) {
        const int64_t begin = (part.offset[0] + row) * columns + (columns > 1 ? part.offset[1] : 0);
        for (int64_t i = 0; i < (columns > 1 ? part.shape[1] : 1); ++i)
          expected.push_back(whole[static_cast<size_t>(begin + i)]);
      }
      ASSERT_EQ(read, expected) << p.name;
    }
  }
}

TEST(GgufModels, AreRoundedAsIsSaid) {
  const TemporaryFolder folder;
  for (const GgufFileType type : {GgufFileType::f16, GgufFileType::bf16, GgufFileType::q8_0,
                                  GgufFileType::q4_0, GgufFileType::q4_k_m}) {
    for (const GgufCase& one : gguf_cases()) {
      const auto source = open_gguf_weights(write(folder, one.config, type), one.config);
      const GgufModel model = write_gguf_config(one.config);
      const ParameterValues rounded = rounded_as_gguf(one.config, model, type, {drawn_weights(one.config)});
      bool changes = false;
      for (const Parameter& p : parameters_of(one.config)) {
        std::vector<float> read(static_cast<size_t>(p.global_shape.numel()));
        source->read(p.name, p, read);
        ASSERT_EQ(read, rounded(p.name)) << p.name << " as file type " << static_cast<uint32_t>(type);
        changes = changes || read != drawn_weights(one.config)(p.name);
      }
      EXPECT_TRUE(changes);
    }
  }
}

// Names and shapes as llama.cpp creates them: the innermost dim is what it calls the first.
TEST(GgufModels, HaveTheNamesOfLlamaCpp) {
  const auto shapes = [](const ModelConfig& config) {
    std::map<std::string, Shape> all;
    for (const StoredTensorShape& tensor : gguf_tensor_map(config).tensors) all[tensor.name] = tensor.shape;
    return all;
  };
  ModelConfig mixtral = small_of(ModelFamily::llama);
  mixtral.moe = {.num_experts = 4};
  auto tensors = shapes(mixtral);
  EXPECT_EQ(tensors.at("blk.6.ffn_gate_exps.weight"), Shape({4, 96, 64}));
  EXPECT_EQ(tensors.at("blk.6.ffn_down_exps.weight"), Shape({4, 64, 96}));
  EXPECT_EQ(tensors.at("blk.0.ffn_gate_inp.weight"), Shape({4, 64}));
  EXPECT_EQ(tensors.at("blk.0.attn_k.weight"), Shape({32, 64}));
  EXPECT_EQ(tensors.at("output.weight"), Shape({96, 64}));
  tensors = shapes(small_of(ModelFamily::phi3));
  EXPECT_EQ(tensors.at("blk.0.attn_qkv.weight"), Shape({64 + 32 + 32, 64}));
  EXPECT_EQ(tensors.at("blk.0.ffn_up.weight"), Shape({2 * 96, 64}));
  EXPECT_FALSE(tensors.contains("blk.0.ffn_gate.weight"));
  tensors = shapes(small_of(ModelFamily::gemma3));
  EXPECT_EQ(tensors.at("blk.3.post_ffw_norm.weight"), Shape({64}));
  EXPECT_EQ(tensors.at("blk.3.attn_q_norm.weight"), Shape({32}));
  EXPECT_FALSE(tensors.contains("output.weight"));
  tensors = shapes(small_of(ModelFamily::gpt2));
  EXPECT_EQ(tensors.at("position_embd.weight"), Shape({128, 64}));
  EXPECT_EQ(tensors.at("blk.0.attn_qkv.bias"), Shape({128}));
}

TEST(GgufModels, InterleaveRowsThatLlamaCppTurnsAsNeighbours) {
  const TemporaryFolder folder;
  for (const auto& [family, interleaved] :
       {std::pair(ModelFamily::llama, true), std::pair(ModelFamily::qwen2, false)}) {
    const ModelConfig config = small_of(family);
    const GgufReader file(write(folder, config, GgufFileType::f32));
    const std::vector<float> key = drawn_weights(config)("layers.2.attention.key.weight"),
                             value = drawn_weights(config)("layers.2.attention.value.weight");
    std::vector<float> row(64);
    for (int64_t r = 0; r < 32; ++r) {
      const int64_t stored = interleaved ? interleaved_row(r, 16) : r;
      file.read("blk.2.attn_k.weight", {stored, stored + 1}, std::nullopt, row);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), key.begin() + r * 64)) << r;
      file.read("blk.2.attn_v.weight", {r, r + 1}, std::nullopt, row);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), value.begin() + r * 64)) << r;
    }
  }
}

TEST(GgufModels, TellWhatNoArchitectureComputes) {
  const auto refused = [](ModelFamily family, const auto& change) {
    return error_of([&] { (void)write_gguf_config(changed(small_of(family), change)); });
  };
  EXPECT_THAT(refused(ModelFamily::llama, [](ModelConfig& c) { c.share = 2; }),
              HasSubstr("model.share 2, not 0 (block 2)"));
  EXPECT_THAT(refused(ModelFamily::llama, [](ModelConfig& c) { set_sharing_text(c, "pairs"); }),
              HasSubstr("model.share pairs, not 0 (block 1)"));
  EXPECT_THAT(refused(ModelFamily::llama, [](ModelConfig& c) { c.query_scalar = 5; }),
              HasSubstr("llama is the nearest: model.query-scalar 5, not 16"));
  EXPECT_THAT(refused(ModelFamily::gpt2, [](ModelConfig& c) { c.bias = BiasKind::none; }),
              HasSubstr("gpt2 is the nearest: model.bias off, not on"));
  EXPECT_THAT(refused(ModelFamily::olmo2, [](ModelConfig& c) { c.tied_embeddings = true; }),
              HasSubstr("model.tied on, not off"));
  EXPECT_THAT(refused(ModelFamily::llama,
                      [](ModelConfig& c) {
                        c.moe = {.num_experts = 4, .score = RouterScore::sigmoid, .bias_rate = 1e-3};
                      }),
              testing::AllOf(HasSubstr("moe.score sigmoid"), HasSubstr("moe.bias-rate 0.001")));
  EXPECT_THAT(refused(ModelFamily::llama, [](ModelConfig& c) { c.moe = {.num_experts = 4, .every = 2}; }),
              HasSubstr("moe.experts 0, not 4 (block 1)"));
  EXPECT_THAT(refused(ModelFamily::qwen2,
                      [](ModelConfig& c) {
                        c.rotary_scaling_factor = 8;
                        c.rotary_original_positions = 32;
                        c.given_head_dim = 24;
                        c.norm_placement = NormPlacement::both;
                      }),
              HasSubstr("model.rotary-scaling 8"));
}

// A family whose options make it another's model is written as that one.
TEST(GgufModels, AreWrittenAsTheArchitectureThatComputesThem) {
  const ModelConfig normed = changed(small_of(ModelFamily::llama), [](ModelConfig& c) {
    c.qk_norm = QkNormKind::head;
    c.given_head_dim = 24;
  });
  EXPECT_EQ(gguf_architecture_of(normed), "qwen3");
}

TEST(GgufModels, BlocksThatNoArchitectureHasAreNamed) {
  ModelConfig model = small_of(ModelFamily::llama);
  model.convolution.kernel = 4;
  expect_error(ExitCode::usage, {"model.convolution"}, [&] { (void)write_gguf_config(model); });
  model.convolution.kernel = 0;
  model.bottleneck.width = model.hidden_size / 2;
  expect_error(ExitCode::usage, {"model.bottleneck"}, [&] { (void)write_gguf_config(model); });
}

TEST(GgufModels, SayWhereLlamaCppAttendsToMore) {
  const ModelConfig mistral = small_of(ModelFamily::mistral);
  EXPECT_THAT(write_gguf_config(mistral).notes,
              testing::ElementsAre(HasSubstr("longer than model.window 16 tokens")));
  EXPECT_TRUE(write_gguf_config(small_of(ModelFamily::gemma2)).notes.empty());
  EXPECT_TRUE(
      write_gguf_config(changed(mistral, [](ModelConfig& c) { c.window = c.max_positions; })).notes.empty());
}

class GgufKeysOf : public testing::Test {
 protected:
  /// What reading the model says with this key in place of its own.
  std::string error_with(ModelFamily family, const std::string& key, const GgufValue& value) {
    const ModelConfig config = small_of(family);
    GgufModel model = write_gguf_config(config);
    GgufMetadata metadata = gguf_metadata(model, GgufFileType::f32, {}, {});
    const auto found = std::ranges::find(metadata, key, &GgufMetadata::value_type::first);
    if (found != metadata.end()) metadata.erase(found);
    metadata.emplace_back(key, value);
    const std::string file = folder_.path("model.gguf");
    write_gguf_model(file, config, model, metadata, GgufFileType::f32, {drawn_weights(config)});
    return error_of([&] { (void)read_gguf_config(GgufReader(file)); });
  }
  TemporaryFolder folder_;
};

TEST_F(GgufKeysOf, ModelsAreRefusedByNameAndValue) {
  using F = ModelFamily;
  EXPECT_THAT(error_with(F::llama, "general.architecture", std::string("mamba")),
              testing::AllOf(HasSubstr("\"mamba\""), HasSubstr("llama, qwen2")));
  EXPECT_THAT(error_with(F::llama, "llama.attention.q_lora_rank", uint32_t{8}),
              HasSubstr("\"llama.attention.q_lora_rank\" (8)"));
  EXPECT_THAT(error_with(F::llama, "llama.attention.scale", 0.5f), HasSubstr("computes with 0.25"));
  EXPECT_THAT(error_with(F::llama, "llama.rope.dimension_count", uint32_t{8}), HasSubstr("16 dimensions"));
  EXPECT_THAT(error_with(F::llama, "llama.rope.scaling.type", std::string("ntk")),
              HasSubstr("none, linear, yarn and longrope"));
  EXPECT_THAT(error_with(F::llama, "llama.attention.head_count", std::vector<uint32_t>{4, 4, 2}),
              HasSubstr("blocks of different sizes"));
  EXPECT_THAT(error_with(F::llama, "llama.attention.head_count", std::string("4")),
              HasSubstr("a whole number"));
  EXPECT_THAT(error_with(F::llama, "llama.block_count", uint64_t{1} << 39), HasSubstr("block_count"));
  EXPECT_THAT(error_with(F::qwen2, "qwen2.expert_count", uint32_t{4}),
              HasSubstr("this architecture has none"));
  EXPECT_THAT(error_with(F::qwen2, "qwen2.attention.causal", false), HasSubstr("causal"));
  EXPECT_THAT(error_with(F::llama, "llama.attention.layer_norm_rms_epsilon", std::string("small")),
              HasSubstr("a finite number"));
}

// Published files have the factors of Llama 3's formula and no numbers of it.
TEST(GgufRotary, FindsLlama3InTablesOfFactors) {
  const TemporaryFolder folder;
  ModelConfig config = small_of(ModelFamily::llama);
  config.rotary_theta = 500000;
  config.max_positions = 131072;
  config.rotary_scaling_factor = 32;
  GgufModel model = write_gguf_config(config);
  std::erase_if(model.metadata,
                [](const auto& entry) { return entry.first.starts_with("llama.rope.scaling"); });
  const std::string file = folder.path("model.gguf");
  const auto read = [&] {
    write_gguf_model(file, config, model, model.metadata, GgufFileType::f32, {drawn_weights(config)});
    return read_gguf_config(GgufReader(file));
  };
  EXPECT_EQ(text_of(gguf_differences(config, read())), "");
  // Other factors are kept one by one.
  model.tables.at("rope_freqs.weight")[3] *= 1.5f;
  const ModelConfig other = read();
  EXPECT_EQ(other.rotary_scaling, RotaryScaling::longrope);
  EXPECT_EQ(other.rotary_attention_factor, 1);
  EXPECT_EQ(other.rotary_long_factors, other.rotary_short_factors);
  EXPECT_EQ(static_cast<float>(other.rotary_long_factors[3]), model.tables.at("rope_freqs.weight")[3]);
}

}  // namespace
}  // namespace trireme::test
