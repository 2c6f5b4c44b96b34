// Models with drawn codes, written to files of quantized weights.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "runtime/base/float8.h"
#include "runtime/base/half.h"
#include "runtime/base/philox.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme::test {

/// Numbers that depend on the name and the place alone.
inline uint32_t drawn_bits(const std::string& name, size_t index) {
  return philox4x32(hash_name(name), index, 7)[0];
}

/// Codes of the whole range but the lowest of symmetric ones, scales of bf16, and where `ordered` groups of
/// inputs that lie apart.
inline ops::CodedMatrix drawn_codes(const std::string& name, const ops::PackedSpec& spec, int64_t outputs,
                                    int64_t inputs, bool ordered = false) {
  ops::CodedMatrix m;
  m.spec = spec;
  m.outputs = outputs;
  m.inputs = inputs;
  const uint32_t count = spec.format == ops::PackedFormat::int4 ? 16 : 256;
  const auto groups = static_cast<size_t>(ops::groups_of(spec, inputs));
  for (size_t i = 0; i < static_cast<size_t>(outputs * inputs); ++i) {
    uint32_t code = drawn_bits(name, i) % count;
    if (spec.format == ops::PackedFormat::fp8 && (code & 0x7f) == 0x7f) code -= 9;  // NaN
    m.codes.push_back(static_cast<uint8_t>(spec.symmetric ? std::max(code, 1u) : code));
  }
  for (size_t i = 0; i < static_cast<size_t>(outputs) * groups; ++i) {
    const float scale = 1e-3f + uniform_from_bits(drawn_bits(name + ".scale", i)) * 1e-2f;
    m.scales.push_back(static_cast<float>(bf16(scale)));
    if (!spec.symmetric) m.zeros.push_back(static_cast<uint8_t>(drawn_bits(name + ".zero", i) % count));
  }
  if (!ordered) return m;
  for (int32_t i = 0; i < static_cast<int32_t>(inputs); ++i) m.order.push_back(i);
  // Ascending within each group, as a file's g_idx cannot say more.
  std::ranges::stable_sort(m.order, {}, [&](int32_t i) { return drawn_bits(name, static_cast<size_t>(i)); });
  const int64_t group = spec.group == 0 ? inputs : spec.group;
  for (int64_t begin = 0; begin < inputs; begin += group)
    std::sort(m.order.begin() + begin, m.order.begin() + std::min(begin + group, inputs));
  return m;
}

/// By the definition.
inline std::vector<float> values_of_codes(const ops::CodedMatrix& m) {
  const int64_t group = m.spec.group == 0 ? m.inputs : m.spec.group;
  const int64_t groups = m.spec.group == 0 ? 1 : (m.inputs + group - 1) / group;
  std::vector<int64_t> group_of(static_cast<size_t>(m.inputs));
  for (int64_t j = 0; j < m.inputs; ++j)
    group_of[static_cast<size_t>(m.order.empty() ? j : m.order[static_cast<size_t>(j)])] = j / group;
  std::vector<float> values;
  for (int64_t o = 0; o < m.outputs; ++o) {
    for (int64_t i = 0; i < m.inputs; ++i) {
      const auto at = static_cast<size_t>(o * groups + group_of[static_cast<size_t>(i)]);
      if (m.spec.format == ops::PackedFormat::fp8) {
        fp8_e4m3 number;
        number.bits = m.codes[static_cast<size_t>(o * m.inputs + i)];
        values.push_back(m.scales[at] * static_cast<float>(number));
        continue;
      }
      const int middle = m.spec.format == ops::PackedFormat::int4 ? 8 : 128;
      const int zero = m.zeros.empty() ? middle : m.zeros[at];
      values.push_back(m.scales[at] *
                       static_cast<float>(int{m.codes[static_cast<size_t>(o * m.inputs + i)]} - zero));
    }
  }
  return values;
}

inline void expect_equal(const ops::CodedMatrix& a, const ops::CodedMatrix& b, const std::string& name) {
  EXPECT_EQ(a.spec, b.spec) << name;
  EXPECT_EQ(a.outputs, b.outputs) << name;
  EXPECT_EQ(a.inputs, b.inputs) << name;
  EXPECT_EQ(a.codes, b.codes) << name;
  EXPECT_EQ(a.scales, b.scales) << name;
  EXPECT_EQ(a.zeros, b.zeros) << name;
  EXPECT_EQ(a.order, b.order) << name;
}

/// A model all of whose matrices that `spec_of` gives a spec are codes.
struct DrawnQuantized {
  using SpecOf = std::function<std::optional<ops::PackedSpec>(const std::string&)>;

  DrawnQuantized(ModelConfig model, const SpecOf& spec_of, bool is_ordered = false)
      : config(std::move(model)), ordered(is_ordered) {
    for (const Parameter& p : parameters_of(config)) {
      const bool is_matrix = p.global_shape.rank() == 2;
      tensors.push_back({p.name, p.global_shape, is_matrix ? spec_of(p.name) : std::nullopt});
    }
    content.matrix = [this](const std::string& name) { return matrix(name); };
    content.values = [this](const std::string& name) { return values(name); };
  }
  DrawnQuantized(const DrawnQuantized&) = delete;

  const QuantizedTensor& tensor(const std::string& name) const {
    return *std::ranges::find(tensors, name, &QuantizedTensor::name);
  }
  ops::CodedMatrix matrix(const std::string& name) const {
    const QuantizedTensor& t = tensor(name);
    return drawn_codes(name, *t.spec, t.shape[0], t.shape[1], ordered);
  }
  /// Numbers of bf16.
  std::vector<float> values(const std::string& name) const {
    if (tensor(name).spec) return values_of_codes(matrix(name));
    std::vector<float> all(static_cast<size_t>(tensor(name).shape.numel()));
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = static_cast<float>(bf16(uniform_from_bits(drawn_bits(name, i)) - 0.5f));
    return all;
  }

  ModelConfig config;
  bool ordered;
  std::vector<QuantizedTensor> tensors;
  QuantizedContent content;
};

/// A part as a tensor-parallel rank has it.
inline Parameter block_of(const QuantizedTensor& t, Part rows, Part columns) {
  Parameter p = Parameter::whole(t.name, t.shape, 0, 0);
  p.offset = {rows.begin, columns.begin};
  p.shape = {rows.size(), columns.size()};
  return p;
}

/// Whole tensors, and parts of matrices as numbers, are what was drawn.
inline void expect_values(const WeightSource& source, const DrawnQuantized& drawn) {
  for (const QuantizedTensor& t : drawn.tensors) {
    const std::vector<float> all = drawn.values(t.name);
    std::vector<float> got(all.size());
    source.read(t.name, Parameter::whole(t.name, t.shape, 0, 0), got);
    EXPECT_EQ(got, all) << t.name;
    if (t.shape.rank() != 2) continue;
    const Part rows{t.shape[0] / 3, t.shape[0] * 2 / 3}, columns{t.shape[1] / 5, t.shape[1] * 4 / 5};
    std::vector<float> part(static_cast<size_t>(rows.size() * columns.size())), expected;
    source.read(t.name, block_of(t, rows, columns), part);
    for (int64_t r = rows.begin; r < rows.end; ++r)
      expected.insert(expected.end(), all.begin() + r * t.shape[1] + columns.begin,
                      all.begin() + r * t.shape[1] + columns.end);
    EXPECT_EQ(part, expected) << t.name;
  }
}

/// Whole matrices come as the codes that were drawn.
inline void expect_codes(const WeightSource& source, const DrawnQuantized& drawn) {
  for (const QuantizedTensor& t : drawn.tensors) {
    const Parameter whole = Parameter::whole(t.name, t.shape, 0, 0);
    EXPECT_EQ(source.coded_spec(t.name, whole), t.spec) << t.name;
    const auto got = source.coded(t.name, whole);
    ASSERT_EQ(got.has_value(), t.spec.has_value()) << t.name;
    if (got) expect_equal(*got, drawn.matrix(t.name), t.name);
  }
}

}  // namespace trireme::test
