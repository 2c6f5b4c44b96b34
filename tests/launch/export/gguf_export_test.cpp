// GGUF files of codes, and of the types of integers.
#include "launch/export/gguf_export.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/philox.h"
#include "runtime/io/gguf/gguf.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using test::expect_error;
using testing::HasSubstr;

/// Weights of which each matrix is int4 in groups of 32, but for `plain`.
class CodedWeights final : public WeightSource {
 public:
  CodedWeights(const ModelConfig& config, std::string plain)
      : plain_(std::move(plain)), drawn_(test::drawn_weights(config)) {
    for (const Parameter& p : parameters_of(config)) kinds_.insert({p.name, {p.global_shape, DType::f32}});
  }
  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const auto matrix = coded(name, p);
    const std::vector<float> drawn = drawn_(std::string(name));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = matrix ? matrix->scales[i / 32] * static_cast<float>(matrix->codes[i] - 8) : drawn[i];
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    if (p.global_shape.rank() != 2 || name == plain_) return std::nullopt;
    return ops::PackedSpec{ops::PackedFormat::int4, 32};
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const auto spec = coded_spec(name, p);
    if (!spec) return std::nullopt;
    ops::CodedMatrix m;
    m.spec = *spec;
    m.outputs = p.global_shape[0];
    m.inputs = p.global_shape[1];
    for (int64_t i = 0; i < p.global_shape.numel(); ++i)
      m.codes.push_back(
          static_cast<uint8_t>(1 + philox4x32(p.name.size(), static_cast<uint64_t>(i), 0)[0] % 15));
    for (int64_t i = 0; i < p.global_shape.numel() / 32; ++i)
      m.scales.push_back(static_cast<float>(128 + i % 128) / 8192.0f);
    return m;
  }

 private:
  std::string path_ = "weights", plain_;
  ParameterValues drawn_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

class GgufExport : public testing::Test {
 protected:
  std::string write(const ExportedModel& model, ExportType type, bool check = true) {
    const std::string log = folder_.path("log");
    std::FILE* out = std::fopen(log.c_str(), "w");
    export_gguf({.path = "weights", .out = out_, .type = type, .num_threads = 3, .check = check}, model,
                nullptr, out);
    std::fclose(out);
    std::ifstream file(log);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void expect_weights(const WeightSource& expected, const ModelConfig& config) {
    const auto source = open_gguf_weights(out_, config);
    for (const Parameter& p : parameters_of(config)) {
      std::vector<float> values(static_cast<size_t>(p.global_shape.numel())), wanted = values;
      source->read(p.name, p, values);
      expected.read(p.name, p, wanted);
      ASSERT_EQ(values, wanted) << p.name;
    }
  }
  test::TemporaryFolder folder_;
  std::string out_ = folder_.path("model.gguf");
};

TEST_F(GgufExport, KeepsCodesWhereTheTypeHoldsThem) {
  for (const ModelFamily family : {ModelFamily::llama, ModelFamily::gpt2, ModelFamily::qwen3}) {
    ModelConfig config = test::small_of(family);
    config.num_layers = 2;
    const auto weights = std::make_shared<CodedWeights>(config, "");
    const ExportedModel model = exported_from(weights, config, "weights", "", "");
    for (const ExportType type : {ExportType::q4_0, ExportType::q8_0}) {
      const std::string printed = write(model, type);
      EXPECT_THAT(printed, HasSubstr("matrices keep their codes\n"));
      EXPECT_THAT(printed, HasSubstr("0.0e+00 of the largest apart"));
      expect_weights(*weights, config);
    }
  }
}

TEST_F(GgufExport, SaysWhatIsRoundedAnew) {
  ModelConfig config = test::small_of(ModelFamily::llama);
  config.num_layers = 2;
  config.hidden_size = config.ffn_size = 256;
  const ExportedModel model =
      exported_from(std::make_shared<CodedWeights>(config, "head.weight"), config, "weights", "", "");
  const std::string printed = write(model, ExportType::q4_k_m);
  EXPECT_THAT(printed,
              HasSubstr("note: 0 matrices keep their codes, 15 are rounded anew, since q4_k_m does not "
                        "hold them; largest change 0.0"));
  EXPECT_THAT(printed, HasSubstr("logits of 64 drawn tokens are those of the checkpoint rounded to q4_k_m"));
  EXPECT_THAT(write(model, ExportType::bf16, false), testing::Not(HasSubstr("codes")));
}

TEST_F(GgufExport, OfPlainWeightsIsReadBackInEveryType) {
  for (const ModelFamily family : {ModelFamily::llama, ModelFamily::gpt2, ModelFamily::gemma3}) {
    ModelConfig config = test::small_of(family);
    config.num_layers = 2;
    config.hidden_size = config.ffn_size = 256;
    ExportedModel model;
    model.path = "weights";
    model.config = config;
    model.values = test::drawn_weights(config);
    if (family == ModelFamily::llama) {
      for (const ExportType type : {ExportType::q8_0, ExportType::q4_0})
        EXPECT_THAT(write(model, type), HasSubstr("0.0e+00 of the largest apart"));
    }
    EXPECT_THAT(write(model, ExportType::q4_k_m), HasSubstr("0.0e+00 of the largest apart"));
    EXPECT_EQ(GgufReader(out_).integer("general.file_type"), 15);
    EXPECT_EQ(GgufReader(out_).integer("general.quantization_version"), 2);
  }
}

TEST_F(GgufExport, OfWeightsOfAnotherModelIsRefused) {
  const ModelConfig config = test::small_of(ModelFamily::llama);
  const auto weights = std::make_shared<CodedWeights>(config, "");
  const ModelConfig other = test::changed(config, [](ModelConfig& c) { c.ffn_size = 160; });
  expect_error(ExitCode::bad_input, {"weights", "ffn"},
               [&] { exported_from(weights, other, "weights", "", ""); });
}

}  // namespace
}  // namespace trireme::launch
