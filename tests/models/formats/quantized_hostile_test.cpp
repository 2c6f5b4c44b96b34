// Directories of transformers whose quantized matrices, or what is said of them, are wrong.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

constexpr const char* kUp = "model.layers.0.mlp.up_proj";

ModelConfig one_layer() {
  ModelConfig c = test::small_of(ModelFamily::llama);
  c.num_layers = 1;
  return c;
}

/// A directory, to be changed and opened.
struct Changed {
  explicit Changed(QuantizedFormat format, PackedSpec spec = {PackedFormat::int4, 32, false})
      : drawn(one_layer(), [=](const std::string& name) {
          return name.starts_with("layers.") ? std::optional(spec) : std::nullopt;
        }) {
    config = write_hf_config(drawn.config, {}, DType::bf16, drawn.config.vocab_size);
    config["quantization_config"] = ordered_json::parse(
        write_quantized(folder.path(), drawn.config, drawn.tensors, drawn.content, {.format = format}));
    const SafetensorsReader reader(folder.path("model.safetensors"));
    for (const auto& [name, t] : reader.tensors())
      tensors[name] = {{name, t.dtype, t.shape, t.is_signed}, {t.bytes.begin(), t.bytes.end()}};
  }

  ordered_json& quantization() { return config["quantization_config"]; }
  ordered_json& weights() { return quantization()["config_groups"]["group_0"]["weights"]; }

  void open() {
    folder.write("config.json", config.dump());
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : tensors) specs.push_back(tensor.first);
    SafetensorsWriter writer(folder.path("model.safetensors"), specs);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor.second);
    writer.commit();
    const WeightPlace place = find_weights(folder.path());
    source = open_weights(place, *model_of(place));
    check_weights_fit(source->kinds(), source->path(), {parameters_of(drawn.config)}, false);
    test::expect_values(*source, drawn);
  }
  void expect_refused(std::initializer_list<std::string_view> parts) {
    expect_error(ExitCode::bad_input, parts, [&] { open(); });
  }
  template <class Number>
  void set(const std::string& name, const Shape& shape, const std::vector<Number>& numbers) {
    const auto bytes = std::as_bytes(std::span(numbers));
    tensors[name] = {{name, DTypeOf<Number>::value, shape}, {bytes.begin(), bytes.end()}};
  }

  test::TemporaryFolder folder;
  DrawnQuantized drawn;
  ordered_json config;
  std::map<std::string, std::pair<TensorSpec, std::vector<std::byte>>> tensors;
  std::unique_ptr<WeightSource> source;
};

constexpr QuantizedFormat kCompressed = QuantizedFormat::compressed_tensors, kGptq = QuantizedFormat::gptq,
                          kAwq = QuantizedFormat::awq;

std::string named(const char* end) { return std::string(kUp) + end; }

TEST(QuantizedHostile, MethodsThatAreNotReadAreNamed) {
  for (const char* method : {"bitsandbytes", "fp8", "mxfp4", "hqq", ""}) {
    Changed files(kCompressed);
    files.quantization()["quant_method"] = method;
    files.expect_refused({"config.json", "quantization_config.quant_method", method, "gptq", "dequantize()"});
  }
  Changed files(kCompressed);
  files.quantization() = 7;
  files.expect_refused({"quantization_config 7"});
}

TEST(QuantizedHostile, SchemesThatAreNotReadAreNamed) {
  const auto refused = [](const char* key, const ordered_json& value) {
    Changed files(kCompressed);
    files.weights()[key] = value;
    files.expect_refused({"config.json", std::string("weights.") + key});
  };
  refused("num_bits", 3);
  refused("num_bits", "4");
  refused("type", "complex");
  refused("strategy", "block");
  refused("strategy", "tensor_group");
  refused("group_size", 0);
  refused("group_size", int64_t{1} << 40);
  refused("dynamic", true);
  refused("actorder", 7);
  Changed nvfp4(kCompressed);
  nvfp4.weights()["type"] = "float";
  nvfp4.expect_refused({"num_bits 4", "float of 4"});
  for (const char* format :
       {"nvfp4-pack-quantized", "mxfp4-pack-quantized", "marlin-24", "sparse-24-bitmask"}) {
    Changed files(kCompressed);
    files.quantization()["format"] = format;
    files.expect_refused({"quantization_config.format", format});
  }
  Changed sparse(kCompressed);
  sparse.quantization()["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
  sparse.expect_refused({"sparsity_config"});
  Changed turned(kCompressed);
  turned.quantization()["transform_config"] = {{"config_groups", {{"u", 1}}}};
  turned.expect_refused({"transform_config"});
  Changed without(kCompressed);
  without.quantization().erase("config_groups");
  without.expect_refused({"config_groups"});
}

TEST(QuantizedHostile, OptionsOfGptqAndAwqThatAreNotReadAreNamed) {
  for (const ordered_json& bits : {ordered_json(3), ordered_json(2), ordered_json("4"), ordered_json(0)}) {
    Changed files(kGptq);
    files.quantization()["bits"] = bits;
    files.expect_refused({"quantization_config.bits"});
  }
  for (const int64_t size : {int64_t{0}, int64_t{-2}, int64_t{1} << 40}) {
    Changed files(kGptq);
    files.quantization()["group_size"] = size;
    files.expect_refused({"quantization_config.group_size"});
  }
  Changed marlin(kGptq);
  marlin.quantization()["checkpoint_format"] = "marlin";
  marlin.expect_refused({"checkpoint_format", "marlin"});
  Changed gemv(kAwq);
  gemv.quantization()["version"] = "gemv";
  gemv.expect_refused({"version", "gemv", "gemm"});
  Changed eight(kAwq);
  eight.quantization()["bits"] = 8;
  eight.expect_refused({"bits 8"});
}

TEST(QuantizedHostile, AConfigurationThatIsNotThatOfTheTensors) {
  Changed group(kCompressed);
  group.weights()["group_size"] = 64;
  group.expect_refused({"weight_packed", "weight_scale", "4 bits in groups of 64"});
  Changed bits(kCompressed);
  bits.weights()["num_bits"] = 8;
  bits.expect_refused({"weight_packed", "8 bits in groups of 32"});
  for (const QuantizedFormat format : {kGptq, kAwq}) {
    Changed other(format);
    other.quantization()["group_size"] = 64;
    other.expect_refused({"model.layers.0", "scales"});
  }
  Changed eight(kGptq);
  eight.quantization()["bits"] = 8;
  eight.expect_refused({"model.layers.0"});
  Changed none(kCompressed);
  none.config.erase("quantization_config");
  none.expect_refused({"up_proj.weight is missing"});
}

TEST(QuantizedHostile, MissingTensorsAndOtherShapesAndTypes) {
  const std::pair<QuantizedFormat, std::vector<const char*>> cases[] = {
      {kCompressed, {".weight_packed", ".weight_scale", ".weight_shape"}},
      {kGptq, {".qweight", ".scales", ".qzeros"}},
      {kAwq, {".qweight", ".scales", ".qzeros"}}};
  for (const auto& [format, ends] : cases) {
    for (const char* end : ends) {
      SCOPED_TRACE(end);
      Changed missing(format);
      missing.tensors.erase(named(end));
      missing.expect_refused({"model.layers.0.mlp.up_proj"});
      Changed flat(format);
      Shape& shape = flat.tensors.at(named(end)).first.shape;
      if (shape.rank() == 2) {
        shape = {shape.numel()};
        flat.expect_refused({"model.layers.0.mlp.up_proj"});
      }
      Changed wide(format);
      Shape& other = wide.tensors.at(named(end)).first.shape;
      if (other.rank() == 2) {
        other = {other[0] / 2, other[1] * 2};
        wide.expect_refused({"model.layers.0.mlp.up_proj"});
      }
      Changed typed(format);
      DType& type = typed.tensors.at(named(end)).first.dtype;
      type = size_of(type) == 2 ? DType::u8 : size_of(type) == 4 ? DType::f32 : DType::f64;
      auto& bytes = typed.tensors.at(named(end)).second;
      if (type == DType::u8) bytes.resize(bytes.size() / 2);
      typed.expect_refused({"model.layers.0.mlp.up_proj"});
    }
  }
}

TEST(QuantizedHostile, NumbersThatCannotBe) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    Changed files(kCompressed);
    const Shape shape = files.tensors.at(named(".weight_scale")).first.shape;
    files.set(named(".weight_scale"), shape, std::vector<float>(static_cast<size_t>(shape.numel()), bad));
    files.expect_refused({"up_proj", "a scale of"});
  }
  Changed fp8(kCompressed, {PackedFormat::fp8});
  fp8.tensors.at(named(".weight")).second[5] = std::byte{0xff};
  fp8.expect_refused({"up_proj", "NaN"});
  Changed groups(kGptq);
  groups.set(named(".g_idx"), {64}, std::vector<int32_t>(64, 2));
  groups.expect_refused({"up_proj", "group 2", "2 groups"});
  groups.set(named(".g_idx"), {64}, std::vector<int32_t>(64, -7));
  groups.expect_refused({"group -7"});
}

/// As llm-compressor of other versions and other programs write them.
TEST(QuantizedForeign, WhatOthersWriteIsRead) {
  Changed scales(kCompressed, {PackedFormat::int8});
  scales.quantization()["config_groups"]["group_0"]["weights"]["group_size"] = -1;
  scales.quantization()["config_groups"]["group_0"]["weights"].erase("strategy");
  scales.tensors[named(".input_scale")] = {{named(".input_scale"), DType::f32, {1}},
                                           std::vector<std::byte>(4)};
  scales.tensors["model.layers.0.self_attn.k_scale"] = {{"model.layers.0.self_attn.k_scale", DType::f32, {1}},
                                                        std::vector<std::byte>(4)};
  scales.open();
  Changed biases(kGptq);
  biases.set(named(".bias"), {96}, std::vector<float>(96));
  biases.open();
  biases.set(named(".bias"), {96}, std::vector<float>(96, 0.5f));
  biases.expect_refused({"up_proj.bias"});
}

TEST(QuantizedForeign, OneScaleForAMatrix) {
  for (const Shape& shape : {Shape{1}, Shape{}, Shape{1, 1}}) {
    for (const PackedFormat format : {PackedFormat::int8, PackedFormat::fp8}) {
      Changed files(kCompressed, {format});
      files.weights()["strategy"] = "tensor";
      const float scale = 0.25f;
      for (auto& [name, tensor] : files.tensors) {
        if (!name.ends_with(".weight_scale")) continue;
        tensor = {{name, DType::f32, shape}, std::vector<std::byte>(sizeof scale)};
        std::memcpy(tensor.second.data(), &scale, sizeof scale);
      }
      files.folder.write("config.json", files.config.dump());
      files.drawn.content.values = nullptr;
      std::vector<TensorSpec> specs;
      for (const auto& [name, tensor] : files.tensors) specs.push_back(tensor.first);
      SafetensorsWriter writer(files.folder.path("model.safetensors"), specs);
      for (const auto& [name, tensor] : files.tensors) writer.write(name, tensor.second);
      writer.commit();
      const auto source = open_weights(find_weights(files.folder.path()), files.drawn.config);
      const QuantizedTensor& up = files.drawn.tensor("layers.0.ffn.up.weight");
      ops::CodedMatrix expected = files.drawn.matrix(up.name);
      std::ranges::fill(expected.scales, scale);
      test::expect_equal(*source->coded(up.name, Parameter::whole(up.name, up.shape, 0, 0)), expected,
                         up.name);
    }
  }
}

TEST(QuantizedForeign, GroupsOfOtherSizesAreReadAsNumbers) {
  Changed files(kGptq, {PackedFormat::int4, 32});
  std::vector<int32_t> uneven(64);
  for (size_t i = 0; i < 64; ++i) uneven[i] = i < 40 ? 0 : 1;
  const std::vector<float> before = files.drawn.values("layers.0.ffn.up.weight");
  files.set(named(".g_idx"), {64}, uneven);
  files.folder.write("config.json", files.config.dump());
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : files.tensors) specs.push_back(tensor.first);
  SafetensorsWriter writer(files.folder.path("model.safetensors"), specs);
  for (const auto& [name, tensor] : files.tensors) writer.write(name, tensor.second);
  writer.commit();
  const auto source = open_weights(find_weights(files.folder.path()), files.drawn.config);
  const QuantizedTensor& up = files.drawn.tensor("layers.0.ffn.up.weight");
  const Parameter whole = Parameter::whole(up.name, up.shape, 0, 0);
  EXPECT_FALSE(source->coded(up.name, whole).has_value());
  std::vector<float> values(before.size());
  source->read(up.name, whole, values);
  const ops::CodedMatrix m = files.drawn.matrix(up.name);
  for (size_t i = 0; i < 64; ++i)
    EXPECT_EQ(values[i], m.scales[static_cast<size_t>(uneven[i])] * static_cast<float>(m.codes[i] - 8)) << i;
}

}  // namespace
}  // namespace trireme
