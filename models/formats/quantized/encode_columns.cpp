#include "models/formats/quantized/encode_columns.h"

#include <algorithm>

#include "models/formats/stored_bytes.h"
#include "runtime/base/error.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

namespace {

/// Numbers below 2^bits in words of 32.
class Words {
 public:
  Words(int64_t count, int bits) : words_(static_cast<size_t>(count)), bits_(bits) {}
  void put(int64_t word, int64_t within, uint32_t number) {
    words_[static_cast<size_t>(word)] |= number << (within * bits_);
  }
  std::vector<int32_t> take() const { return {words_.begin(), words_.end()}; }

 private:
  std::vector<uint32_t> words_;
  int bits_;
};

std::vector<int32_t> words_of_numbers(const ops::CodedMatrix& m, ColumnFormat format) {
  const int bits = bits_of_codes(m.spec);
  const int64_t per_word = 32 / bits;
  Words words(m.outputs * m.inputs / per_word, bits);
  for (int64_t row = 0; row < m.outputs; ++row) {
    const uint8_t* codes = m.codes.data() + row * m.inputs;
    for (int64_t i = 0; i < m.inputs; ++i) {
      if (format == ColumnFormat::awq) {
        words.put(i * (m.outputs / per_word) + row / per_word, awq_place(row % per_word), codes[i]);
      } else {
        words.put(i / per_word * m.outputs + row, i % per_word, codes[i]);
      }
    }
  }
  return words.take();
}

std::vector<int32_t> words_of_zeros(const ops::CodedMatrix& m, ColumnFormat format) {
  const int bits = bits_of_codes(m.spec);
  const int64_t per_word = 32 / bits, groups = m.groups();
  const uint32_t mask = (1u << bits) - 1u, less = format == ColumnFormat::gptq ? 1 : 0;
  Words words(groups * (m.outputs / per_word), bits);
  for (int64_t row = 0; row < m.outputs; ++row) {
    const int64_t within = format == ColumnFormat::awq ? awq_place(row % per_word) : row % per_word;
    for (int64_t g = 0; g < groups; ++g) {
      const uint32_t zero = m.zeros.empty() ? symmetric_zero(m.spec.format)
                                            : uint32_t{m.zeros[static_cast<size_t>(row * groups + g)]};
      words.put(g * (m.outputs / per_word) + row / per_word, within, (zero - less) & mask);
    }
  }
  return words.take();
}

std::vector<float> transposed_scales(const ops::CodedMatrix& m) {
  const int64_t groups = m.groups();
  std::vector<float> scales(m.scales.size());
  for (int64_t row = 0; row < m.outputs; ++row) {
    for (int64_t g = 0; g < groups; ++g)
      scales[static_cast<size_t>(g * m.outputs + row)] = m.scales[static_cast<size_t>(row * groups + g)];
  }
  return scales;
}

}  // namespace

std::vector<EncodedTensor> encode_columns(const std::string& module, const ops::CodedMatrix& m,
                                          ColumnFormat format) {
  const auto wrong =
      std::ranges::find_if(m.scales, [](float scale) { return rounded_to(scale, DType::f16) != scale; });
  if (wrong != m.scales.end()) {
    throw_usage(
        "{}: output {} has the scale {}, which is no number of fp16, as {} stores scales; "
        "compressed-tensors and our own format keep it",
        module, (wrong - m.scales.begin()) / m.groups(), *wrong,
        format == ColumnFormat::awq ? "awq" : "gptq");
  }
  if (format == ColumnFormat::awq && !m.order.empty())
    throw_usage(
        "{}: AWQ has no activation order; gptq and our own format have, or quantize with static groups",
        module);
  const std::vector<TensorSpec> specs = specs_of_columns(module, {m.outputs, m.inputs}, m.spec, format);
  std::vector<EncodedTensor> all = {
      encoded(specs[0].name, specs[0].shape, words_of_numbers(m, format)),
      encoded(specs[1].name, specs[1].shape, words_of_zeros(m, format)),
      encoded_floats(specs[2].name, specs[2].shape, transposed_scales(m), DType::f16)};
  if (format != ColumnFormat::awq) all.push_back(encoded(specs[3].name, specs[3].shape, m.group_of_inputs()));
  return all;
}

std::vector<TensorSpec> specs_of_columns(const std::string& module, const Shape& shape,
                                         const ops::PackedSpec& spec, ColumnFormat format) {
  const int64_t per_word = 32 / bits_of_codes(spec), outputs = shape[0], inputs = shape[1];
  const int64_t groups = ops::groups_of(spec, inputs);
  const bool is_awq = format == ColumnFormat::awq;
  std::vector<TensorSpec> specs = {
      {module + ".qweight", DType::i32,
       is_awq ? Shape{inputs, outputs / per_word} : Shape{inputs / per_word, outputs}},
      {module + ".qzeros", DType::i32, {groups, outputs / per_word}},
      {module + ".scales", DType::f16, {groups, outputs}}};
  if (!is_awq) specs.push_back({module + ".g_idx", DType::i32, {inputs}});
  return specs;
}

}  // namespace trireme
