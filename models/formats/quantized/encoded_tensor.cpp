#include "models/formats/quantized/encoded_tensor.h"

#include <algorithm>

#include "models/formats/quantized/stored_sparse.h"
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

EncodedTensor encoded_scales(const std::string& module, const ops::CodedMatrix& matrix, DType scales) {
  const DType type = are_exact(matrix.scales, scales) ? scales : DType::f32;
  return encoded_floats(part_name(module, kScale), {matrix.outputs, matrix.groups()}, matrix.scales, type);
}

/// Mask, values and shape of elements of so many bytes, of which is_zero(index) says which are left out;
/// nothing where too few are.
template <class IsZero>
std::vector<EncodedTensor> without_zeros(const std::string& module, const Shape& shape,
                                         std::span<const std::byte> elements, DType dtype,
                                         const IsZero& is_zero) {
  const int64_t outputs = shape[0], inputs = shape[1], row_bytes = (inputs + 7) / 8;
  const size_t size = size_of(dtype);
  EncodedTensor mask{{part_name(module, kMask), DType::u8, {outputs, row_bytes}}, {}};
  mask.bytes.resize(static_cast<size_t>(outputs * row_bytes));
  EncodedTensor values{{part_name(module, kValues), dtype, {0}, dtype == DType::u8}, {}};
  for (int64_t row = 0, at = 0; row < outputs; ++row) {
    for (int64_t i = 0; i < inputs; ++i, ++at) {
      if (is_zero(at)) continue;
      mask.bytes[static_cast<size_t>(row * row_bytes + i / 8)] |= static_cast<std::byte>(1 << (i % 8));
      const auto element = elements.subspan(static_cast<size_t>(at) * size, size);
      values.bytes.insert(values.bytes.end(), element.begin(), element.end());
    }
  }
  const auto kept = static_cast<int64_t>(values.bytes.size() / size);
  if (static_cast<double>(kept) > (1 - ops::kLeastSparseZeros) * static_cast<double>(shape.numel()))
    return {};
  values.spec.shape = {kept};
  return {std::move(mask), std::move(values),
          encoded(part_name(module, kShape), {2}, std::vector<int64_t>{outputs, inputs})};
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
  all.push_back(encoded_scales(module, matrix, scales));
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

std::vector<EncodedTensor> encode_sparse(const std::string& module, const Shape& shape,
                                         std::span<const float> values, DType dtype) {
  return without_zeros(module, shape, stored_bytes(values, dtype), dtype,
                       [&](int64_t i) { return rounded_to(values[static_cast<size_t>(i)], dtype) == 0.0f; });
}

std::vector<EncodedTensor> encode_sparse(const std::string& module, const ops::CodedMatrix& matrix,
                                         DType scales) {
  if (matrix.spec.format != ops::PackedFormat::int8 || !matrix.spec.symmetric) return {};
  const int zero = symmetric_zero(matrix.spec.format);
  const EncodedTensor numbers = encoded_signed("", {matrix.outputs, matrix.inputs}, matrix.codes, zero);
  auto all = without_zeros(module, numbers.spec.shape, numbers.bytes, DType::u8,
                           [&](int64_t i) { return numbers.bytes[static_cast<size_t>(i)] == std::byte{0}; });
  if (all.empty()) return all;
  all.push_back(encoded_scales(module, matrix, scales));
  if (!matrix.order.empty())
    all.push_back(encoded(part_name(module, kGroups), {matrix.inputs}, matrix.group_of_inputs()));
  return all;
}

std::vector<TensorSpec> most_of_sparse(const std::string& module, const Shape& shape, bool are_codes) {
  std::vector<TensorSpec> most{{part_name(module, kMask), DType::u8, {shape[0], (shape[1] + 7) / 8}},
                               {part_name(module, kValues), DType::f32, {shape.numel()}}};
  if (!are_codes) most.push_back({part_name(module, kShape), DType::i64, {2}});
  return most;
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
