// Which type each tensor of a GGUF file has, and that codes stay what they are.
#include "models/formats/gguf_file_type.h"

#include <cmath>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_model_file.h"
#include "models/formats/gguf_tensors.h"
#include "models/formats/gguf_weights.h"
#include "runtime/base/philox.h"
#include "runtime/io/gguf/gguf.h"
#include "tests/models/formats/gguf_cases.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

ModelConfig wide_of(ModelFamily family) {
  ModelConfig c = small_of(family);
  c.num_layers = 8;
  c.hidden_size = 256;
  c.ffn_size = 512;
  c.given_head_dim = 0;
  return c;
}

std::map<std::string, GgufType, std::less<>> types_of(const ModelConfig& c, GgufFileType type,
                                                      const ParameterCodes& codes = {}) {
  return gguf_types(gguf_tensor_map(c), c.num_layers, c.moe.num_experts, type, codes);
}

TEST(GgufFileTypes, MixAsLlamaCppDoes) {
  const auto llama = types_of(wide_of(ModelFamily::llama), GgufFileType::q4_k_m);
  EXPECT_EQ(llama.at("output.weight"), GgufType::q6_k);
  EXPECT_EQ(llama.at("token_embd.weight"), GgufType::q4_k);
  EXPECT_EQ(llama.at("output_norm.weight"), GgufType::f32);
  // Of 8 blocks the first and the last, and 3 and 6.
  for (int block = 0; block < 8; ++block) {
    const std::string name = "blk." + std::to_string(block) + ".";
    const GgufType more =
        block == 0 || block == 3 || block == 6 || block == 7 ? GgufType::q6_k : GgufType::q4_k;
    EXPECT_EQ(llama.at(name + "attn_v.weight"), more) << block;
    EXPECT_EQ(llama.at(name + "ffn_down.weight"), more) << block;
    for (const char* part : {"attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"})
      EXPECT_EQ(llama.at(name + part + ".weight"), GgufType::q4_k) << part;
  }
  const auto tied = types_of(wide_of(ModelFamily::gemma), GgufFileType::q4_k_m);
  EXPECT_EQ(tied.at("token_embd.weight"), GgufType::q6_k);
  const auto fused = types_of(wide_of(ModelFamily::gpt2), GgufFileType::q4_k_m);
  EXPECT_EQ(fused.at("blk.1.attn_qkv.weight"), GgufType::q6_k);
  EXPECT_EQ(fused.at("position_embd.weight"), GgufType::f32);
  const ModelConfig mixtral = changed(wide_of(ModelFamily::llama), [](ModelConfig& c) {
    c.moe = {.num_experts = 8, .expert_ffn_size = 256};
  });
  const auto experts = types_of(mixtral, GgufFileType::q4_k_m);
  EXPECT_EQ(experts.at("blk.1.attn_v.weight"), GgufType::q8_0);
  EXPECT_EQ(experts.at("blk.1.attn_k.weight"), GgufType::q8_0);
  EXPECT_EQ(experts.at("blk.1.attn_output.weight"), GgufType::q6_k);
  EXPECT_EQ(experts.at("blk.3.ffn_down_exps.weight"), GgufType::q6_k);
  EXPECT_EQ(experts.at("blk.1.ffn_down_exps.weight"), GgufType::q4_k);
  EXPECT_EQ(experts.at("blk.1.ffn_gate_inp.weight"), GgufType::f32);
  const auto plain = types_of(wide_of(ModelFamily::llama), GgufFileType::q4_0);
  EXPECT_EQ(plain.at("output.weight"), GgufType::q6_k);
  EXPECT_EQ(plain.at("token_embd.weight"), GgufType::q4_0);
}

TEST(GgufFileTypes, FallBackWhereRowsAreNoWholeBlocks) {
  const ModelConfig c = small_of(ModelFamily::llama);  // hidden 64, ffn 96
  const auto types = types_of(c, GgufFileType::q4_k_m);
  EXPECT_EQ(types.at("output.weight"), GgufType::q8_0);
  EXPECT_EQ(types.at("blk.2.attn_q.weight"), GgufType::q4_1);
  EXPECT_EQ(types.at("blk.6.ffn_down.weight"), GgufType::q8_0);
  const ModelConfig narrow = changed(c, [](ModelConfig& config) { config.ffn_size = 72; });
  for (const GgufFileType type : {GgufFileType::q4_k_m, GgufFileType::q4_0, GgufFileType::q8_0})
    EXPECT_EQ(types_of(narrow, type).at("blk.1.ffn_down.weight"), GgufType::f16);
}

/// Codes of all matrices of a model, with scales that fp16 has.
class DrawnCodes {
 public:
  DrawnCodes(const ModelConfig& config, ops::PackedSpec spec) : spec_(spec) {
    for (const Parameter& p : parameters_of(config)) parameters_.emplace(p.name, p);
    drawn_ = drawn_weights(config);
  }
  void leave_out(const std::string& name) { left_out_.insert(name); }

  std::optional<ops::PackedSpec> spec(const std::string& name) const {
    const Parameter& p = parameters_.at(name);
    if (p.global_shape.rank() != 2 || left_out_.contains(name)) return std::nullopt;
    return spec_;
  }
  std::optional<ops::CodedMatrix> matrix(const std::string& name) const {
    if (!spec(name)) return std::nullopt;
    const Shape& shape = parameters_.at(name).global_shape;
    ops::CodedMatrix m;
    m.spec = spec_;
    m.outputs = shape[0];
    m.inputs = shape[1];
    const int64_t size = spec_.group > 0 ? spec_.group : m.inputs, groups = (m.inputs + size - 1) / size;
    const uint64_t key = std::hash<std::string>()(name);
    const uint32_t levels = spec_.format == ops::PackedFormat::int4 ? 15 : 255;
    for (int64_t i = 0; i < shape.numel(); ++i)
      m.codes.push_back(static_cast<uint8_t>(1 + philox4x32(key, static_cast<uint64_t>(i), 0)[0] % levels));
    for (int64_t i = 0; i < m.outputs * groups; ++i) {
      const auto bits = philox4x32(key, static_cast<uint64_t>(i), 1);
      m.scales.push_back(static_cast<float>(128 + bits[0] % 128) / 16384.0f / static_cast<float>(levels));
      m.scales.back() = static_cast<float>(bf16(m.scales.back()));
      if (!spec_.symmetric) m.zeros.push_back(static_cast<uint8_t>(bits[1] % (levels + 1)));
    }
    return m;
  }
  std::vector<float> values(const std::string& name) const {
    const auto m = matrix(name);
    if (!m) return drawn_(name);
    std::vector<float> values(m->codes.size());
    const int64_t size = spec_.group > 0 ? spec_.group : m->inputs, groups = (m->inputs + size - 1) / size;
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      const auto at = static_cast<size_t>(i);
      const auto g = static_cast<size_t>(i / m->inputs * groups + i % m->inputs / size);
      const int zero = !m->zeros.empty() ? m->zeros[g] : spec_.format == ops::PackedFormat::int4 ? 8 : 128;
      values[at] = m->scales[g] * static_cast<float>(m->codes[at] - zero);
    }
    return values;
  }

 private:
  ops::PackedSpec spec_;
  ParameterValues drawn_;
  std::map<std::string, Parameter> parameters_;
  std::set<std::string> left_out_;
};

GgufContent content_of(const DrawnCodes& codes) {
  return {[=](const std::string& name) { return codes.values(name); },
          {[=](const std::string& name) { return codes.spec(name); },
           [=](const std::string& name) { return codes.matrix(name); }}};
}

class GgufCodes : public testing::Test {
 protected:
  GgufCodesReport write(const ModelConfig& config, GgufFileType type, const GgufContent& content) {
    const GgufModel model = write_gguf_config(config);
    return write_gguf_model(file_, config, model, gguf_metadata(model, type, {}, {}), type, content);
  }
  /// Compares the file with what was written.
  void expect_values(const ModelConfig& config, const ParameterValues& expected) {
    const auto source = open_gguf_weights(file_, config);
    for (const Parameter& p : parameters_of(config)) {
      std::vector<float> values(static_cast<size_t>(p.global_shape.numel()));
      source->read(p.name, p, values);
      ASSERT_EQ(values, expected(p.name)) << p.name;
    }
  }
  TemporaryFolder folder_;
  std::string file_ = folder_.path("model.gguf");
};

// Rows of query and key are interleaved for llama, query, key and value one tensor for gpt2, experts too.
TEST_F(GgufCodes, StayWhatTheyAre) {
  const ModelConfig mixtral = changed(small_of(ModelFamily::llama), [](ModelConfig& c) {
    c.moe = {.num_experts = 4, .expert_ffn_size = 32};
  });
  struct Case {
    ops::PackedSpec spec;
    GgufFileType file;
    GgufType type;
  };
  const auto int4 = ops::PackedFormat::int4, int8 = ops::PackedFormat::int8;
  for (ModelConfig config : {small_of(ModelFamily::llama), small_of(ModelFamily::gpt2), mixtral}) {
    config.num_layers = 2;
    for (const Case& one : {Case{{int4, 32, true}, GgufFileType::q4_0, GgufType::q4_0},
                            Case{{int4, 0, true}, GgufFileType::q4_0, GgufType::q4_0},
                            Case{{int4, 32, true}, GgufFileType::q8_0, GgufType::q8_0},
                            Case{{int4, 32, false}, GgufFileType::q8_0, GgufType::q8_0},
                            Case{{int8, 32, true}, GgufFileType::q8_0, GgufType::q8_0},
                            Case{{int8, 32, true}, GgufFileType::q4_0, GgufType::q8_0}}) {
      const GgufContent content = content_of(DrawnCodes(config, one.spec));
      const GgufCodesReport report = write(config, one.file, content);
      EXPECT_GT(report.kept, 10);
      EXPECT_EQ(report.rounded, 0);
      EXPECT_EQ(report.largest, 0);
      EXPECT_EQ(GgufReader(file_).at("token_embd.weight").type, &info_of(one.type));
      expect_values(config, content.values);
    }
  }
}

TEST_F(GgufCodes, AreRoundedWhereTheTypeDoesNotHoldThem) {
  const ModelConfig config = changed(wide_of(ModelFamily::llama), [](ModelConfig& c) { c.num_layers = 2; });
  const auto int4 = ops::PackedFormat::int4;
  const DrawnCodes codes(config, {int4, 32, true});
  const GgufContent content = content_of(codes);
  GgufCodesReport report = write(config, GgufFileType::q4_k_m, content);
  EXPECT_EQ(report.kept, 0);
  EXPECT_EQ(report.rounded, 2 * 7 + 2);
  EXPECT_GT(report.largest, 0.001);
  EXPECT_LT(report.largest, 0.2);
  expect_values(config, rounded_as_gguf(config, write_gguf_config(config), GgufFileType::q4_k_m, content));

  // Asymmetric ones of four bits are almost exact as q4_1.
  const DrawnCodes shifted(config, {int4, 32, false});
  report = write(config, GgufFileType::q4_0, content_of(shifted));
  EXPECT_EQ(report.rounded, 0);
  EXPECT_GT(report.largest, 0);
  EXPECT_LT(report.largest, 1.0 / 2048);
  EXPECT_FALSE(report.name.empty());

  // A matrix without codes does not change what happens to others.
  DrawnCodes some(config, {int4, 32, true});
  some.leave_out("layers.1.attention.query.weight");
  some.leave_out("head.weight");
  report = write(config, GgufFileType::q4_0, content_of(some));
  EXPECT_EQ(report.kept, 2 * 7);
  EXPECT_EQ(report.rounded, 0);
  EXPECT_EQ(report.largest, 0);
  EXPECT_EQ(GgufReader(file_).at("output.weight").type, &info_of(GgufType::q6_k));
}

TEST_F(GgufCodes, OfAFileThatCannotHoldAValueAreNotWritten) {
  const ModelConfig config = changed(wide_of(ModelFamily::llama), [](ModelConfig& c) { c.num_layers = 2; });
  const ParameterValues drawn = drawn_weights(config);
  for (const auto& [type, bad] :
       {std::pair(GgufFileType::q4_0, std::nanf("")), std::pair(GgufFileType::q4_k_m, -INFINITY),
        std::pair(GgufFileType::q8_0, 1e10f)}) {
    const GgufContent content{[&, value = bad](const std::string& name) {
      std::vector<float> values = drawn(name);
      if (name == "layers.1.ffn.up.weight") values[1000] = value;
      return values;
    }};
    expect_error(ExitCode::bad_input, {"layers.1.ffn.up.weight", "not finite or beyond"},
                 [&, file_type = type] { write(config, file_type, content); });
  }
  EXPECT_THAT(folder_.names(), testing::IsEmpty());
}

// Importance reaches the encoder by the parameter's name and in its order of columns.
TEST_F(GgufCodes, AreWeighedByImportance) {
  const ModelConfig config = changed(wide_of(ModelFamily::llama), [](ModelConfig& c) { c.num_layers = 2; });
  GgufContent content{drawn_weights(config)};
  write(config, GgufFileType::q4_k_m, content);
  const auto weighed_error = [&] {
    const Parameter p = Parameter::whole("layers.1.attention.query.weight", {256, 256}, 0, 0);
    std::vector<float> values(256 * 256);
    open_gguf_weights(file_, config)->read(p.name, p, values);
    const std::vector<float> expected = drawn_weights(config)(p.name);
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += i % 8 == 0 ? std::pow(values[i] - expected[i], 2) : 0;
    return sum;
  };
  const double before = weighed_error();
  content.importance = [](const std::string& name) {
    std::vector<float> importance(name.ends_with("ffn.down.weight") ? 512 : 256, 0.01f);
    for (size_t i = 0; i < importance.size(); i += 8) importance[i] = 1.0f;
    return importance;
  };
  write(config, GgufFileType::q4_k_m, content);
  EXPECT_LT(weighed_error(), 0.7 * before);
}

}  // namespace
}  // namespace trireme::test
