#include "models/formats/quantized/compressed_codes.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "models/formats/quantized/stored_sparse.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using ops::PackedFormat;
using Strategy = CodeScheme::Strategy;

/// Scales and zero points, which all kinds of codes have alike.
class CompressedCodes : public StoredCodes {
 public:
  CompressedCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path,
                  const std::string& module, const CodeScheme& scheme)
      : StoredCodes(std::move(kind)), scheme_(scheme) {
    const int64_t outputs = kind_.outputs, groups = kind_.groups();
    const std::vector<Shape> shapes =
        scheme.strategy == Strategy::tensor    ? std::vector<Shape>{{1}, {}, {1, 1}}
        : scheme.strategy == Strategy::channel ? std::vector<Shape>{{outputs, 1}, {outputs}}
                                               : std::vector<Shape>{{outputs, groups}};
    scales_ = &floats_of(tensors, path, part_name(module, kScale), shapes);
    if (!scheme.symmetric) open_zeros(tensors, path, part_name(module, kZeroPoint));
    if (const std::string name = part_name(module, kGroups); tensors.contains(name)) {
      if (scheme.strategy != Strategy::group)
        throw_bad_input("{}: tensor \"{}\" is there, and the matrix has no groups", path, name);
      set_groups(kind_, all_int32(tensor_of(tensors, path, name, DType::i32, {kind_.inputs})));
    }
  }

  void scales(Part rows, Part groups, std::span<float> out) const override {
    size_t at = 0;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t g = groups.begin; g < groups.end; ++g) out[at++] = float_at(*scales_, place(row, g));
    }
  }

  void zeros(Part rows, Part groups, std::span<uint8_t> out) const override {
    const int64_t per_word = 32 / scheme_.bits;
    size_t at = 0;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t g = groups.begin; g < groups.end; ++g) {
        out[at++] = are_zeros_packed_
                        ? static_cast<uint8_t>(packed_at(*zeros_, row / per_word * kind_.groups() + g,
                                                         row % per_word, scheme_.bits))
                        : code_of(zeros_->bytes[static_cast<size_t>(place(row, g))]);
      }
    }
  }

 protected:
  /// Of a signed number in a byte.
  uint8_t code_of(std::byte number) const {
    const int code = static_cast<int8_t>(number) + symmetric_zero(kind_.spec.format);
    if (code < 0 || code >= 1 << scheme_.bits)
      throw_bad_input("{} has the number {}, which {} bits do not hold", kind_.where,
                      static_cast<int8_t>(number), scheme_.bits);
    return static_cast<uint8_t>(code);
  }

  CodeScheme scheme_;

 private:
  int64_t place(int64_t row, int64_t group) const {
    return scheme_.strategy == Strategy::tensor ? 0 : row * kind_.groups() + group;
  }

  void open_zeros(const StoredTensors& tensors, const std::string& path, const std::string& name) {
    const int64_t outputs = kind_.outputs, groups = kind_.groups();
    const auto found = tensors.find(name);
    are_zeros_packed_ = found != tensors.end() && found->second.dtype == DType::i32;
    const Shape shape = scheme_.strategy == Strategy::tensor ? Shape{1}
                        : are_zeros_packed_                  ? Shape{words_of(outputs, scheme_.bits), groups}
                                                             : Shape{outputs, groups};
    zeros_ = are_zeros_packed_ ? &tensor_of(tensors, path, name, DType::i32, shape)
                               : &signed_bytes_of(tensors, path, name, shape);
    if (are_zeros_packed_ && scheme_.strategy == Strategy::tensor)
      throw_bad_input("{}: tensor \"{}\" is i32; i8 was expected of one zero point for a matrix", path, name);
  }

  const StoredTensor* scales_ = nullptr;
  const StoredTensor* zeros_ = nullptr;
  bool are_zeros_packed_ = false;
};

class PackedCodes final : public CompressedCodes {
 public:
  PackedCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path,
              const std::string& module, const CodeScheme& scheme)
      : CompressedCodes(std::move(kind), tensors, path, module, scheme),
        packed_(&tensor_of(tensors, path, part_name(module, kPacked), DType::i32,
                           {kind_.outputs, words_of(kind_.inputs, scheme.bits)})) {}

  void codes(Part rows, Part columns, std::span<uint8_t> out) const override {
    const size_t row_bytes = static_cast<size_t>(words_of(kind_.inputs, scheme_.bits)) * sizeof(int32_t);
    uint8_t* to = out.data();
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const auto* from =
          reinterpret_cast<const uint8_t*>(packed_->bytes.data()) + static_cast<size_t>(row) * row_bytes;
      if (scheme_.bits == 8) {
        std::memcpy(to, from + columns.begin, static_cast<size_t>(columns.size()));
        to += columns.size();
        continue;
      }
      for (int64_t i = columns.begin; i < columns.end; ++i)
        *to++ = static_cast<uint8_t>((from[i / 2] >> (i % 2 * 4)) & 15);
    }
  }

 private:
  const StoredTensor* packed_;
};

class ByteCodes final : public CompressedCodes {
 public:
  ByteCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path, const std::string& module,
            const CodeScheme& scheme)
      : CompressedCodes(std::move(kind), tensors, path, module, scheme),
        numbers_(&signed_bytes_of(tensors, path, part_name(module, kWeight), {kind_.outputs, kind_.inputs})) {
  }

  void codes(Part rows, Part columns, std::span<uint8_t> out) const override {
    uint8_t* to = out.data();
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const std::byte* from = numbers_->bytes.data() + row * kind_.inputs;
      for (int64_t i = columns.begin; i < columns.end; ++i) *to++ = code_of(from[i]);
    }
  }

 private:
  const StoredTensor* numbers_;
};

CodesKind kind_of(const std::string& path, const std::string& module, const CodeScheme& scheme) {
  CodesKind kind{.where = fmt::format("{}: tensor \"{}\"", path, module + std::string(kWeight)), .spec = {}};
  kind.spec = {.format = scheme.is_float    ? PackedFormat::fp8
                         : scheme.bits == 8 ? PackedFormat::int8
                                            : PackedFormat::int4,
               .group = scheme.strategy == Strategy::group ? scheme.group : 0,
               .symmetric = scheme.symmetric};
  return kind;
}

class FloatCodes final : public CompressedCodes {
 public:
  FloatCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path, const std::string& module,
             const CodeScheme& scheme)
      : CompressedCodes(std::move(kind), tensors, path, module, scheme),
        numbers_(&tensor_of(tensors, path, part_name(module, kWeight), DType::f8e4m3,
                            {kind_.outputs, kind_.inputs})) {
    if (!scheme.symmetric || scheme.strategy == Strategy::group)
      throw_bad_input("{}: 8-bit floats have one scale an output, and no zero points", kind_.where);
  }

  void codes(Part rows, Part columns, std::span<uint8_t> out) const override {
    uint8_t* to = out.data();
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      std::memcpy(to, numbers_->bytes.data() + row * kind_.inputs + columns.begin,
                  static_cast<size_t>(columns.size()));
      to += columns.size();
    }
  }

 private:
  const StoredTensor* numbers_;
};

class SparseCodes final : public CompressedCodes {
 public:
  SparseCodes(CodesKind kind, const StoredTensors& tensors, const std::string& path,
              const std::string& module, const CodeScheme& scheme)
      : CompressedCodes(std::move(kind), tensors, path, module, scheme),
        numbers_(tensors, path, module, true) {}

  void codes(Part rows, Part columns, std::span<uint8_t> out) const override {
    numbers_.codes(rows, columns, symmetric_zero(kind_.spec.format), out);
  }

 private:
  StoredSparse numbers_;
};

/// Sets outputs and inputs from the tensor with the shape, which is not believed before it fits the codes.
void set_shape(CodesKind& kind, const StoredTensors& tensors, const std::string& path,
               const std::string& module, int bits) {
  const std::string name = part_name(module, kShape);
  const StoredTensor& packed = tensors.find(part_name(module, kPacked))->second;
  const StoredTensor& shape = tensor_of(tensors, path, name, DType::i64, {2});
  kind.outputs = int64_at(shape, 0);
  kind.inputs = int64_at(shape, 1);
  const int64_t words = packed.shape.rank() == 2 ? packed.shape[1] : 0;
  const bool fits = packed.shape.rank() == 2 && kind.outputs == packed.shape[0] && kind.inputs >= 0 &&
                    kind.inputs <= words * (32 / bits) && words_of(kind.inputs, bits) == words;
  if (!fits) {
    throw_bad_input("{}: tensor \"{}\" says [{}, {}], and weight_packed is {}, of {}-bit numbers", path, name,
                    kind.outputs, kind.inputs, to_string(packed.shape), bits);
  }
}

}  // namespace

bool has_compressed_codes(const StoredTensors& tensors, const std::string& module) {
  if (tensors.contains(part_name(module, kPacked))) return true;
  const auto weight = tensors.find(part_name(module, kWeight));
  return weight != tensors.end() && tensors.contains(part_name(module, kScale)) &&
         (weight->second.is_signed || weight->second.dtype == DType::f8e4m3);
}

std::unique_ptr<StoredCodes> open_compressed_codes(const StoredTensors& tensors, const std::string& path,
                                                   const std::string& module, const CodeScheme& scheme) {
  CodesKind kind = kind_of(path, module, scheme);
  if (tensors.contains(part_name(module, kMask))) {
    if (scheme.is_float || scheme.bits != 8 || !scheme.symmetric)
      throw_bad_input("{} is sparse; only symmetric int8 is read so", kind.where);
    const StoredSparse numbers(tensors, path, module, true);
    kind.outputs = numbers.outputs();
    kind.inputs = numbers.inputs();
    return std::make_unique<SparseCodes>(std::move(kind), tensors, path, module, scheme);
  }
  if (tensors.contains(part_name(module, kPacked))) {
    if (scheme.is_float) throw_bad_input("{} is packed, and its numbers are to be floats", kind.where);
    set_shape(kind, tensors, path, module, scheme.bits);
    return std::make_unique<PackedCodes>(std::move(kind), tensors, path, module, scheme);
  }
  const auto weight = tensors.find(part_name(module, kWeight));
  if (weight == tensors.end())
    throw_bad_input("{}: neither {}{} nor {}{} is there", path, module, kPacked, module, kWeight);
  if (weight->second.shape.rank() != 2)
    throw_bad_input("{} is {}; a matrix was expected", kind.where, to_string(weight->second.shape));
  kind.outputs = weight->second.shape[0];
  kind.inputs = weight->second.shape[1];
  if (scheme.is_float) return std::make_unique<FloatCodes>(std::move(kind), tensors, path, module, scheme);
  return std::make_unique<ByteCodes>(std::move(kind), tensors, path, module, scheme);
}

}  // namespace trireme
