// trireme checkpoint export of and to quantized files.
#include "launch/export/quantized_export.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/config_file.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/open_weights.h"
#include "runtime/io/json/json_file.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/models/formats/quantized_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;

using ops::PackedFormat;
using ops::PackedSpec;
using test::DrawnQuantized;
using test::expect_error;
using testing::HasSubstr;

ModelConfig small_llama() {
  ModelConfig model = test::small_of(ModelFamily::llama);
  model.num_layers = 2;
  model.hidden_size = 128;
  model.ffn_size = 256;
  return model;
}

class QuantizedExportTest : public testing::Test {
 protected:
  void write_config_of(const ModelConfig& model, const std::string& run) const {
    fs::create_directories(folder_.path(run));
    RunConfig config;
    config.model = model;
    config.data.text = "text.txt";
    config.train.seq_len = 16;
    config.train.global_batch = 8;
    folder_.write(run + "/config.ini", write_config(config));
  }
  std::string quantized_run(const DrawnQuantized& drawn) const {
    write_config_of(drawn.config, "quantized");
    write_quantized(folder_.path("quantized/model.safetensors"), drawn.config, drawn.tensors, drawn.content,
                    {.values_type = DType::f32});
    return folder_.path("quantized");
  }
  std::string plain_run(const ModelConfig& model) const {
    write_config_of(model, "plain");
    const DrawnQuantized drawn(model, [](const std::string&) { return std::nullopt; });
    write_quantized(folder_.path("plain/model.safetensors"), model, drawn.tensors, drawn.content,
                    {.values_type = DType::f32});
    return folder_.path("plain");
  }
  /// What is printed.
  std::string write(const ExportOptions& options) const {
    const std::string log = folder_.path("log");
    std::FILE* out = std::fopen(log.c_str(), "w");
    try {
      export_model(options, out);
    } catch (...) {
      std::fclose(out);
      throw;
    }
    std::fclose(out);
    std::ifstream file(log);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  test::TemporaryFolder folder_;
};

constexpr ExportFormat kFormats[] = {ExportFormat::compressed_tensors, ExportFormat::gptq, ExportFormat::awq};

TEST_F(QuantizedExportTest, CodesOfOurOwnFileStay) {
  const DrawnQuantized drawn(small_llama(), [](const std::string& name) {
    return name.starts_with("layers.") ? std::optional(PackedSpec{PackedFormat::int4, 64, false})
                                       : std::nullopt;
  });
  const std::string run = quantized_run(drawn);
  for (const ExportFormat format : kFormats) {
    const std::string out = folder_.path(fmt::format("out{}", static_cast<int>(format)));
    EXPECT_THAT(write({.path = run, .out = out, .format = format}), HasSubstr("those of the codes, 0.0e+00"));
    const auto source = open_weights(find_weights(out), drawn.config);
    test::expect_codes(*source, drawn);
    test::expect_values(*source, drawn);  // drawn of bf16, and scales of it
  }
}

TEST_F(QuantizedExportTest, FormatsOfNumbersHoldTheValues) {
  const DrawnQuantized drawn(small_llama(), [](const std::string&) {
    return PackedSpec{PackedFormat::int8, 32};
  });
  const std::string run = quantized_run(drawn);
  write({.path = run, .out = folder_.path("hf")});
  test::expect_values(*open_weights(find_weights(folder_.path("hf")), drawn.config), drawn);
  write({.path = run, .out = folder_.path("m.gguf")});
  test::expect_values(*open_gguf_weights(folder_.path("m.gguf"), drawn.config), drawn);
  write({.path = run, .out = folder_.path("m.safetensors")});
  test::expect_values(*open_weights({ModelFormat::own_file, folder_.path("m.safetensors")}, drawn.config),
                      drawn);
}

TEST_F(QuantizedExportTest, NumbersAreRoundedAsAsked) {
  const std::string run = plain_run(small_llama());
  const std::string out = folder_.path("out");
  write({.path = run, .out = out, .format = ExportFormat::gptq, .rounding = {.bits = 8, .group = 0}});
  const auto config = read_json_file(out + "/config.json").at("quantization_config");
  EXPECT_EQ(config.at("bits"), 8);
  EXPECT_EQ(config.at("group_size"), -1);
  const auto source = open_weights(find_weights(out), small_llama());
  const DrawnQuantized drawn(small_llama(), [](const std::string&) { return std::nullopt; });
  const QuantizedTensor& up = drawn.tensor("layers.1.ffn.up.weight");
  const auto codes = source->coded(up.name, Parameter::whole(up.name, up.shape, 0, 0));
  ASSERT_TRUE(codes.has_value());
  EXPECT_EQ(codes->spec, (PackedSpec{PackedFormat::int8, 0}));
  const std::vector<float> before = drawn.values(up.name), after = test::values_of_codes(*codes);
  for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(after[i], before[i], 0.5f / 127) << i;
  const QuantizedTensor& head = drawn.tensor("head.weight");
  EXPECT_FALSE(source->coded(head.name, Parameter::whole(head.name, head.shape, 0, 0)).has_value());
}

TEST_F(QuantizedExportTest, WrongOptionsLeaveNothing) {
  const DrawnQuantized drawn(small_llama(), [](const std::string& name) {
    return name.starts_with("layers.") ? std::optional(PackedSpec{PackedFormat::int4, 32}) : std::nullopt;
  });
  const std::string run = quantized_run(drawn), plain = plain_run(small_llama()), out = folder_.path("out");
  const auto refused = [&](const ExportOptions& options, std::initializer_list<std::string_view> parts) {
    expect_error(ExitCode::usage, parts, [&] { write(options); });
    EXPECT_FALSE(fs::exists(out));
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr("unfinished")));
  };
  refused({.path = run, .out = out, .format = ExportFormat::gptq, .rounding = {.bits = 8}},
          {"is quantized", "--bits"});
  refused({.path = plain, .out = out, .rounding = {.group = 32}}, {"--group", "gptq"});
  refused({.path = plain, .out = out, .format = ExportFormat::awq, .rounding = {.bits = 8}},
          {"layers.0.", "int8", "int4 is"});
  refused(
      {.path = plain, .out = out, .format = ExportFormat::gptq, .type = ExportType::q8_0, .has_type = true},
      {"--dtype", "fp16"});
  refused({.path = plain, .out = folder_.path("plain"), .format = ExportFormat::gptq}, {"is there already"});
  ModelConfig gpt2 = test::small_of(ModelFamily::gpt2);
  gpt2.num_kv_heads = 4;
  refused({.path = plain_run(gpt2), .out = out, .format = ExportFormat::gptq, .rounding = {.group = 32}},
          {"Conv1D", "gguf"});
}

}  // namespace
}  // namespace trireme::launch
