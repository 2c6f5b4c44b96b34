// Directories of transformers with quantized matrices: written and read back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/families/family.h"
#include "models/formats/hf_config.h"
#include "models/formats/open_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/formats/quantized_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;
using ops::PackedFormat;
using ops::PackedSpec;
using test::DrawnQuantized;
using test::expect_error;
using test::TemporaryFolder;
using testing::Contains;
using testing::HasSubstr;

constexpr QuantizedFormat kFormats[] = {QuantizedFormat::compressed_tensors, QuantizedFormat::gptq,
                                        QuantizedFormat::awq};

bool is_of_layers(const std::string& name) {
  return name.starts_with("layers.") && name.find("router") == std::string::npos;
}

/// Of matrices of layers; sizes that all formats have.
DrawnQuantized::SpecOf layers_as(const PackedSpec& spec) {
  return [=](const std::string& name) -> std::optional<PackedSpec> {
    if (is_of_layers(name)) return spec;
    return std::nullopt;
  };
}

ModelConfig model_of(ModelFamily family) {
  ModelConfig c = test::small_of(family);
  c.num_layers = 2;
  c.ffn_size = 128;
  if (family == ModelFamily::gpt2 || family == ModelFamily::neox) c.num_kv_heads = 4;
  return c;
}

ordered_json write(const TemporaryFolder& folder, const DrawnQuantized& drawn,
                   const QuantizedWriteOptions& options) {
  ordered_json config = write_hf_config(drawn.config, {}, DType::bf16, drawn.config.vocab_size);
  const std::string text =
      write_quantized(folder.path(), drawn.config, drawn.tensors, drawn.content, options);
  config["quantization_config"] = ordered_json::parse(text);
  folder.write("config.json", config.dump());
  return config["quantization_config"];
}

std::unique_ptr<WeightSource> opened(const TemporaryFolder& folder, const DrawnQuantized& drawn) {
  EXPECT_TRUE(is_quantized(folder.path()));
  const WeightPlace place = find_weights(folder.path());
  EXPECT_EQ(place.format, ModelFormat::hugging_face);
  const ModelConfig back = *trireme::model_of(place);
  EXPECT_EQ(back.num_layers, drawn.config.num_layers);
  auto source = open_weights(place, back);
  check_weights_fit(source->kinds(), source->path(), {parameters_of(drawn.config)}, false);
  return source;
}

TEST(QuantizedDirectory, CodesComeBackFromEveryFormat) {
  for (const QuantizedFormat format : kFormats) {
    for (const PackedFormat numbers : {PackedFormat::int4, PackedFormat::int8, PackedFormat::fp8}) {
      if (format == QuantizedFormat::awq && numbers == PackedFormat::int8) continue;
      if (format != QuantizedFormat::compressed_tensors && numbers == PackedFormat::fp8) continue;
      for (const int64_t group : {0, 32, 64}) {
        for (const bool symmetric : {true, false}) {
          if (numbers == PackedFormat::fp8 && (group > 0 || !symmetric)) continue;
          const PackedSpec spec{numbers, group, symmetric};
          SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(format), ops::to_string(spec)));
          const DrawnQuantized drawn(model_of(ModelFamily::llama), layers_as(spec));
          EXPECT_TRUE(cannot_write(format, drawn.config, drawn.tensors).empty());
          const TemporaryFolder folder;
          write(folder, drawn, {.format = format, .shard_bytes = 60'000});
          EXPECT_TRUE(std::filesystem::exists(folder.path("model.safetensors.index.json")));
          const auto source = opened(folder, drawn);
          test::expect_values(*source, drawn);
          test::expect_codes(*source, drawn);
        }
      }
    }
  }
}

TEST(QuantizedDirectory, FusedTensorsOfOtherArchitectures) {
  for (const ModelFamily family :
       {ModelFamily::phi3, ModelFamily::neox, ModelFamily::qwen3, ModelFamily::gemma, ModelFamily::mistral}) {
    for (const QuantizedFormat format : kFormats) {
      const DrawnQuantized drawn(model_of(family), layers_as({PackedFormat::int4, 32, false}));
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(family), static_cast<int>(format)));
      const TemporaryFolder folder;
      write(folder, drawn, {.format = format, .values_type = DType::f32});
      const auto source = opened(folder, drawn);
      test::expect_codes(*source, drawn);
      if (family != ModelFamily::gemma) test::expect_values(*source, drawn);  // gains + 1 round
    }
  }
}

TEST(QuantizedDirectory, ExpertsAndRouters) {
  ModelConfig config = model_of(ModelFamily::llama);
  config.moe = {.num_experts = 4, .experts_per_token = 2, .expert_ffn_size = 64};
  for (const QuantizedFormat format : kFormats) {
    const DrawnQuantized drawn(config, layers_as({PackedFormat::int4, 32}));
    const TemporaryFolder folder;
    write(folder, drawn, {.format = format});
    const auto source = opened(folder, drawn);
    test::expect_values(*source, drawn);
    test::expect_codes(*source, drawn);
  }
}

TEST(QuantizedDirectory, ActivationOrderIsKeptByGptqAlone) {
  const DrawnQuantized drawn(model_of(ModelFamily::llama), layers_as({PackedFormat::int4, 32}), true);
  const TemporaryFolder folder;
  const ordered_json config = write(folder, drawn, {.format = QuantizedFormat::gptq});
  EXPECT_EQ(config["desc_act"], true);
  const auto source = opened(folder, drawn);
  test::expect_values(*source, drawn);
  test::expect_codes(*source, drawn);
  for (const QuantizedFormat format : {QuantizedFormat::compressed_tensors, QuantizedFormat::awq}) {
    const TemporaryFolder other;
    expect_error(ExitCode::usage, {"model.layers.0.mlp.down_proj", "activation order", "static groups"},
                 [&] { write(other, drawn, {.format = format}); });
    EXPECT_FALSE(std::filesystem::exists(other.path("model.safetensors")));
  }
}

TEST(QuantizedDirectory, ATiedTableIsWrittenOnceAsNumbers) {
  ModelConfig config = model_of(ModelFamily::llama);
  config.tied_embeddings = true;
  const DrawnQuantized drawn(config, [](const std::string&) { return PackedSpec{PackedFormat::int4, 32}; });
  const TemporaryFolder folder;
  const ordered_json written =
      write(folder, drawn, {.format = QuantizedFormat::compressed_tensors, .values_type = DType::f16});
  EXPECT_THAT(written["ignore"], Contains("lm_head"));
  EXPECT_THAT(notes_on_writing(QuantizedFormat::compressed_tensors, config, drawn.tensors),
              Contains(HasSubstr("model.embed_tokens.weight is written as numbers")));
  const SafetensorsReader file(folder.path("model.safetensors"));
  EXPECT_EQ(file.at("model.embed_tokens.weight").dtype, DType::f16);
  EXPECT_FALSE(file.tensors().contains("lm_head.weight"));
  // Codes of 4 bits with scales of bf16 are exact in fp16.
  test::expect_values(*opened(folder, drawn), drawn);
}

TEST(QuantizedDirectory, AHeadIsQuantizedWhereTheFormatHasOne) {
  const DrawnQuantized drawn(model_of(ModelFamily::llama), [](const std::string& name) {
    return name.starts_with("embedding") ? std::nullopt : std::optional(PackedSpec{PackedFormat::int4, 32});
  });
  for (const QuantizedFormat format : kFormats) {
    const TemporaryFolder folder;
    write(folder, drawn, {.format = format, .values_type = DType::f16});
    const auto source = opened(folder, drawn);
    test::expect_values(*source, drawn);
    const QuantizedTensor& head = drawn.tensor("head.weight");
    EXPECT_EQ(source->coded_spec(head.name, Parameter::whole(head.name, head.shape, 0, 0)).has_value(),
              format != QuantizedFormat::awq);
  }
}

TEST(QuantizedDirectory, MixedWidthsBecomeGroupsWithTheirModules) {
  const PackedSpec wide{PackedFormat::int8, 0}, narrow{PackedFormat::int4, 32};
  const DrawnQuantized drawn(model_of(ModelFamily::llama),
                             [&](const std::string& name) -> std::optional<PackedSpec> {
                               if (!is_of_layers(name) || name == "layers.1.attention.output.weight")
                                 return std::nullopt;
                               return name == "layers.1.ffn.down.weight" ? wide : narrow;
                             });
  const TemporaryFolder compressed, gptq;
  const ordered_json config =
      write(compressed, drawn,
            {.format = QuantizedFormat::compressed_tensors, .activations = ops::Activations::int8});
  EXPECT_EQ(config["format"], "mixed-precision");
  const ordered_json &first = config["config_groups"]["group_0"],
                     &second = config["config_groups"]["group_1"];
  EXPECT_EQ(first["format"], "pack-quantized");
  EXPECT_THAT(first["targets"], Contains("re:^model\\.layers\\.(0)\\.mlp\\.down_proj$"));
  EXPECT_THAT(first["targets"], Contains("re:^model\\.layers\\.(0|1)\\.mlp\\.up_proj$"));
  EXPECT_EQ(second["format"], "int-quantized");
  EXPECT_EQ(second["targets"], ordered_json::parse(R"(["re:^model\\.layers\\.(1)\\.mlp\\.down_proj$"])"));
  EXPECT_EQ(second["weights"]["num_bits"], 8);
  EXPECT_EQ(second["weights"]["strategy"], "channel");
  EXPECT_EQ(second["input_activations"]["strategy"], "token");
  EXPECT_EQ(config["ignore"], ordered_json::parse(R"(["lm_head", "model.layers.1.self_attn.o_proj"])"));
  test::expect_codes(*opened(compressed, drawn), drawn);

  const ordered_json other = write(gptq, drawn, {.format = QuantizedFormat::gptq});
  EXPECT_EQ(other["bits"], 4);
  EXPECT_EQ(other["checkpoint_format"], "gptq");
  EXPECT_EQ(other["dynamic"], ordered_json::parse(R"({
      "-:^model\\.layers\\.(1)\\.self_attn\\.o_proj$": {},
      "+:^model\\.layers\\.(1)\\.mlp\\.down_proj$": {"bits": 8, "group_size": -1, "sym": true}})"));
  test::expect_codes(*opened(gptq, drawn), drawn);
  EXPECT_THAT(cannot_write(QuantizedFormat::awq, drawn.config, drawn.tensors),
              Contains(HasSubstr("layers.1.ffn.down.weight")));
}

TEST(QuantizedDirectory, WhatAFormatCannotHoldIsSaidWithWhatWorks) {
  const auto why = [](QuantizedFormat format, const ModelConfig& config, const PackedSpec& spec) {
    const DrawnQuantized drawn(config, layers_as(spec));
    const auto reasons = cannot_write(format, config, drawn.tensors);
    EXPECT_FALSE(reasons.empty());
    return reasons.empty() ? "" : reasons.front();
  };
  const PackedSpec int4{PackedFormat::int4, 32};
  for (const QuantizedFormat format : kFormats)
    EXPECT_THAT(why(format, model_of(ModelFamily::gpt2), int4),
                testing::AllOf(HasSubstr("Conv1D"), HasSubstr("gguf")));
  ModelConfig odd = model_of(ModelFamily::llama);
  odd.ffn_size = 100;
  EXPECT_THAT(why(QuantizedFormat::compressed_tensors, odd, int4),
              HasSubstr("groups of 32 do not divide 100"));
  EXPECT_THAT(why(QuantizedFormat::gptq, odd, {PackedFormat::int4}), HasSubstr("[64, 100]"));
  EXPECT_THAT(why(QuantizedFormat::awq, model_of(ModelFamily::llama), {PackedFormat::int8}),
              HasSubstr("int8 per channel is none of its formats"));
  const ModelConfig phi3 = model_of(ModelFamily::phi3);
  const DrawnQuantized differs(phi3, [](const std::string& name) -> std::optional<PackedSpec> {
    if (name.find("attention.key") != std::string::npos) return PackedSpec{PackedFormat::int8};
    return is_of_layers(name) ? std::optional(PackedSpec{PackedFormat::int4, 32}) : std::nullopt;
  });
  EXPECT_THAT(cannot_write(QuantizedFormat::gptq, phi3, differs.tensors),
              Contains(testing::AllOf(HasSubstr("qkv_proj"), HasSubstr("quantized alike"))));
}

TEST(QuantizedDirectory, AScaleThatFp16DoesNotHoldIsRefused) {
  for (const float scale : {0x1.01p-20f, 1e5f, 0.1f}) {
    DrawnQuantized drawn(model_of(ModelFamily::llama), layers_as({PackedFormat::int4, 32}));
    drawn.content.matrix = [&](const std::string& name) {
      ops::CodedMatrix m = drawn.matrix(name);
      m.scales[1] = scale;
      return m;
    };
    for (const QuantizedFormat format : {QuantizedFormat::gptq, QuantizedFormat::awq}) {
      const TemporaryFolder folder;
      expect_error(ExitCode::usage, {"model.layers.0.mlp.down_proj", "fp16", "compressed-tensors"},
                   [&] { write(folder, drawn, {.format = format}); });
      EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    }
    const TemporaryFolder folder;
    write(folder, drawn, {.format = QuantizedFormat::compressed_tensors});
    const SafetensorsReader file(folder.path("model.safetensors"));
    EXPECT_EQ(file.at("model.layers.0.mlp.down_proj.weight_scale").dtype, DType::f32);
    EXPECT_EQ(file.at("model.norm.weight").dtype, DType::bf16);
  }
}

TEST(QuantizedDirectory, ShapesThatFastKernelsDoNotTakeAreNoted) {
  ModelConfig config = model_of(ModelFamily::llama);
  const auto notes = [&](const PackedSpec& spec) {
    const DrawnQuantized drawn(config, layers_as(spec));
    return notes_on_writing(QuantizedFormat::compressed_tensors, config, drawn.tensors);
  };
  EXPECT_THAT(notes({PackedFormat::int4, 32}), Contains(HasSubstr("fast kernels")));  // 64 inputs
  config.hidden_size = 128;
  EXPECT_TRUE(notes({PackedFormat::int4, 32}).empty());
  EXPECT_THAT(notes({PackedFormat::int4, 32, false}), Contains(HasSubstr("14 of 14")));
}

}  // namespace
}  // namespace trireme
