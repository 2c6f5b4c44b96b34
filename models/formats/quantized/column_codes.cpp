#include "models/formats/quantized/column_codes.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"

namespace trireme {

namespace {

using ops::PackedFormat;

class ColumnCodes final : public StoredCodes {
 public:
  ColumnCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path,
              const std::string& module, const ColumnScheme& scheme)
      : StoredCodes(std::move(kind)), scheme_(scheme), per_word_(32 / scheme.bits) {
    const int64_t outputs = kind_.outputs, inputs = kind_.inputs, groups = kind_.groups();
    const Shape words = is_awq() ? Shape{inputs, outputs / per_word_} : Shape{inputs / per_word_, outputs};
    numbers_ = &tensor_of(tensors, path, module + ".qweight", DType::i32, words);
    scales_ = &floats_of(tensors, path, module + ".scales", {{groups, outputs}});
    zeros_ = &tensor_of(tensors, path, module + ".qzeros", DType::i32, {groups, outputs / per_word_});
    const std::string order = module + ".g_idx";
    if (!is_awq() && tensors.contains(order))
      set_groups(kind_, all_int32(tensor_of(tensors, path, order, DType::i32, {inputs})));
    kind_.spec.symmetric = are_zeros_symmetric();
  }

  void codes(Part rows, Part columns, std::span<uint8_t> out) const override {
    const auto width = static_cast<size_t>(columns.size());
    for (int64_t i = columns.begin; i < columns.end; ++i) {
      uint8_t* to = out.data() + (i - columns.begin);
      for (int64_t row = rows.begin; row < rows.end; ++row, to += width) *to = code_at(row, i);
    }
  }

  void scales(Part rows, Part groups, std::span<float> out) const override {
    size_t at = 0;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t g = groups.begin; g < groups.end; ++g)
        out[at++] = float_at(*scales_, g * kind_.outputs + row);
    }
  }

  void zeros(Part rows, Part groups, std::span<uint8_t> out) const override {
    size_t at = 0;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t g = groups.begin; g < groups.end; ++g) out[at++] = zero_at(row, g);
    }
  }

 private:
  bool is_awq() const { return scheme_.format == ColumnFormat::awq; }

  uint8_t code_at(int64_t row, int64_t input) const {
    if (is_awq()) {
      const int64_t word = input * (kind_.outputs / per_word_) + row / per_word_;
      return static_cast<uint8_t>(packed_at(*numbers_, word, awq_place(row % per_word_), scheme_.bits));
    }
    const int64_t word = input / per_word_ * kind_.outputs + row;
    return static_cast<uint8_t>(packed_at(*numbers_, word, input % per_word_, scheme_.bits));
  }

  uint8_t zero_at(int64_t row, int64_t group) const {
    const int64_t word = group * (kind_.outputs / per_word_) + row / per_word_;
    const int64_t within = is_awq() ? awq_place(row % per_word_) : row % per_word_;
    const uint32_t stored = packed_at(*zeros_, word, within, scheme_.bits);
    // What was zero less one wraps around.
    const uint32_t added = scheme_.format == ColumnFormat::gptq ? 1 : 0;
    return static_cast<uint8_t>((stored + added) & ((1u << scheme_.bits) - 1u));
  }

  bool are_zeros_symmetric() const {
    const uint8_t middle = symmetric_zero(kind_.spec.format);
    for (int64_t g = 0; g < kind_.groups(); ++g) {
      for (int64_t row = 0; row < kind_.outputs; ++row) {
        if (zero_at(row, g) != middle) return false;
      }
    }
    return true;
  }

  ColumnScheme scheme_;
  int64_t per_word_;
  const StoredTensor* numbers_ = nullptr;
  const StoredTensor* scales_ = nullptr;
  const StoredTensor* zeros_ = nullptr;
};

/// A matrix of `module`, for its shape.
const StoredTensor& matrix_named(const StoredTensors& tensors, const std::string& path,
                                 const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw_bad_input("{}: tensor \"{}\" is missing", path, name);
  if (found->second.shape.rank() != 2)
    throw_bad_input("{}: tensor \"{}\" is {}; a matrix was expected", path, name,
                    to_string(found->second.shape));
  return found->second;
}

/// Bits and groups of a matrix that may have its own: what the shapes say.
ColumnScheme scheme_of_shapes(ColumnScheme scheme, const std::string& path, const std::string& module,
                              const StoredTensor& words, const StoredTensor& zeros,
                              const StoredTensor& scales) {
  const int64_t outputs = scales.shape[1], groups = scales.shape[0];
  for (const int bits : {4, 8}) {
    if (zeros.shape[1] != outputs / (32 / bits) || outputs % (32 / bits) != 0) continue;
    scheme.bits = bits;
    const int64_t inputs = words.shape[0] * (32 / bits);
    if (groups == ceil_of(inputs, std::max<int64_t>(scheme.group, 1)) && scheme.group > 0) return scheme;
    if (groups < 1 || inputs % groups != 0) break;
    scheme.group = groups == 1 ? 0 : inputs / groups;
    return scheme;
  }
  throw_bad_input("{}: {}: qweight {}, qzeros {} and scales {} are those of no matrix of 4 or 8 bits", path,
                  module, to_string(words.shape), to_string(zeros.shape), to_string(scales.shape));
}

}  // namespace

bool has_column_codes(const StoredTensors& tensors, const std::string& module) {
  return tensors.contains(module + ".qweight");
}

std::unique_ptr<StoredCodes> open_column_codes(const StoredTensors& tensors, const std::string& path,
                                               const std::string& module, const ColumnScheme& given) {
  const StoredTensor& words = matrix_named(tensors, path, module + ".qweight");
  const StoredTensor& scales = matrix_named(tensors, path, module + ".scales");
  const StoredTensor& zeros = matrix_named(tensors, path, module + ".qzeros");
  const ColumnScheme scheme =
      given.may_differ ? scheme_of_shapes(given, path, module, words, zeros, scales) : given;
  const int64_t per_word = 32 / scheme.bits;
  CodesKind kind{.where = fmt::format("{}: tensor \"{}.qweight\"", path, module), .spec = {}};
  const bool is_awq = scheme.format == ColumnFormat::awq;
  const int64_t packed = words.shape[is_awq ? 1 : 0];
  if (packed > INT32_MAX) throw_bad_input("{} is {}", kind.where, to_string(words.shape));
  kind.inputs = is_awq ? words.shape[0] : packed * per_word;
  kind.outputs = is_awq ? packed * per_word : words.shape[1];
  if (kind.outputs % per_word != 0)
    throw_bad_input("{} is {}: outputs are packed by {}, and do not divide", kind.where,
                    to_string(words.shape), per_word);
  kind.spec = {.format = scheme.bits == 8 ? PackedFormat::int8 : PackedFormat::int4,
               .group = scheme.group,
               .symmetric = true};
  return std::make_unique<ColumnCodes>(std::move(kind), tensors, path, module, scheme);
}

}  // namespace trireme
