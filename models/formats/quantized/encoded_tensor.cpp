#include "models/formats/quantized/encoded_tensor.h"

#include <algorithm>

#include "models/formats/stored_bytes.h"
#include "runtime/base/error.h"
#include "runtime/ops/packed/quantize_row.h"

namespace trireme {

namespace {

std::vector<int32_t> packed_rows(const ops::CodedMatrix& matrix) {
  std::vector<int32_t> words;
  const auto inputs = static_cast<size_t>(matrix.inputs);
  for (size_t row = 0; row < static_cast<size_t>(matrix.outputs); ++row) {
    const auto some =
        packed_words(std::span(matrix.codes).subspan(row * inputs, inputs), bits_of_codes(matrix.spec));
    words.insert(words.end(), some.begin(), some.end());
  }
  return words;
}

/// Packed down the outputs.
std::vector<int32_t> packed_zeros(const ops::CodedMatrix& matrix) {
  const int bits = bits_of_codes(matrix.spec);
  const int64_t per_word = 32 / bits, groups = matrix.groups();
  std::vector<int32_t> words(static_cast<size_t>(words_of(matrix.outputs, bits) * groups));
  for (int64_t row = 0; row < matrix.outputs; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      auto& word = words[static_cast<size_t>(row / per_word * groups + g)];
      const uint32_t zero = matrix.zeros[static_cast<size_t>(row * groups + g)];
      word = static_cast<int32_t>(static_cast<uint32_t>(word) | zero << (row % per_word * bits));
    }
  }
  return words;
}

}  // namespace

EncodedTensor encoded_signed(const std::string& name, const Shape& shape, std::span<const uint8_t> codes,
                             int zero) {
  EncodedTensor tensor{{name, DType::u8, shape, true}, {}};
  tensor.bytes.reserve(codes.size());
  for (const uint8_t code : codes) tensor.bytes.push_back(static_cast<std::byte>(code - zero));
  return tensor;
}

EncodedTensor encoded_floats(const std::string& name, const Shape& shape, std::span<const float> values,
                             DType dtype) {
  return {{name, dtype, shape}, stored_bytes(values, dtype)};
}

bool are_exact(std::span<const float> values, DType dtype) {
  return std::ranges::all_of(values, [dtype](float value) { return rounded_to(value, dtype) == value; });
}

std::vector<int32_t> packed_words(std::span<const uint8_t> codes, int bits) {
  std::vector<int32_t> words(static_cast<size_t>(words_of(std::ssize(codes), bits)));
  const size_t per_word = 32 / static_cast<size_t>(bits);
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint32_t placed = uint32_t{codes[i]} << (i % per_word * static_cast<size_t>(bits));
    words[i / per_word] = static_cast<int32_t>(static_cast<uint32_t>(words[i / per_word]) | placed);
  }
  return words;
}

std::vector<EncodedTensor> encode_compressed(const std::string& module, const ops::CodedMatrix& matrix,
                                             bool packs, DType scales) {
  const int bits = bits_of_codes(matrix.spec);
  const int64_t outputs = matrix.outputs, inputs = matrix.inputs, groups = matrix.groups();
  const int zero = symmetric_zero(matrix.spec.format);
  std::vector<EncodedTensor> all;
  if (packs) {
    all.push_back(
        encoded(part_name(module, kPacked), {outputs, words_of(inputs, bits)}, packed_rows(matrix)));
    all.push_back(encoded(part_name(module, kShape), {2}, std::vector<int64_t>{outputs, inputs}));
  } else if (matrix.spec.format == ops::PackedFormat::fp8) {
    const auto bytes = std::as_bytes(std::span(matrix.codes));
    all.push_back(
        {{part_name(module, kWeight), DType::f8e4m3, {outputs, inputs}}, {bytes.begin(), bytes.end()}});
  } else {
    all.push_back(encoded_signed(part_name(module, kWeight), {outputs, inputs}, matrix.codes, zero));
  }
  const DType type = are_exact(matrix.scales, scales) ? scales : DType::f32;
  all.push_back(encoded_floats(part_name(module, kScale), {outputs, groups}, matrix.scales, type));
  if (!matrix.zeros.empty() && packs) {
    all.push_back(
        encoded(part_name(module, kZeroPoint), {words_of(outputs, bits), groups}, packed_zeros(matrix)));
  } else if (!matrix.zeros.empty()) {
    all.push_back(encoded_signed(part_name(module, kZeroPoint), {outputs, groups}, matrix.zeros, zero));
  }
  if (!matrix.order.empty())
    all.push_back(encoded(part_name(module, kGroups), {inputs}, matrix.group_of_inputs()));
  return all;
}

std::vector<TensorSpec> most_of_compressed(const std::string& module, const Shape& shape,
                                           const ops::PackedSpec& spec) {
  const int64_t groups = ops::groups_of(spec, shape[1]);
  return {{part_name(module, kPacked), DType::i32, {shape[0], words_of(shape[1], 8)}},
          {part_name(module, kShape), DType::i64, {2}},
          {part_name(module, kScale), DType::f32, {shape[0], groups}},
          {part_name(module, kZeroPoint), DType::i32, {shape[0], groups}},
          {part_name(module, kGroups), DType::i32, {shape[1]}}};
}

}  // namespace trireme
