// Matrices of codes as the tensors of a file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "models/formats/quantized/compressed_codes.h"
#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

struct EncodedTensor {
  TensorSpec spec;
  std::vector<std::byte> bytes;
};

template <class Number>
EncodedTensor encoded(const std::string& name, const Shape& shape, const std::vector<Number>& numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return {{name, DTypeOf<Number>::value, shape}, {bytes.begin(), bytes.end()}};
}
/// Signed numbers, as bytes.
EncodedTensor encoded_signed(const std::string& name, const Shape& shape, std::span<const uint8_t> codes,
                             int zero);
/// f32, bf16 or f16.
EncodedTensor encoded_floats(const std::string& name, const Shape& shape, std::span<const float> values,
                             DType dtype);

/// Whether every value is one of the type's.
bool are_exact(std::span<const float> values, DType dtype);

/// Numbers below 2^bits one behind the other in words of 32, the lowest bits first; the last word is filled
/// with zeros.
std::vector<int32_t> packed_words(std::span<const uint8_t> codes, int bits);

/// compressed-tensors' tensors of a matrix: weight_packed and weight_shape, or weight of int8 or E4M3
/// (`packs` false); weight_scale of `scales`, or f32 where they are no numbers of that; weight_zero_point and
/// weight_g_idx where there are some.
std::vector<EncodedTensor> encode_compressed(const std::string& module, const ops::CodedMatrix& matrix,
                                             bool packs, DType scales);
/// A matrix without its zeros (stored_sparse.h): of values in `dtype`, and of symmetric int8 with
/// weight_scale (and weight_g_idx) as above. Nothing where fewer than kLeastSparseZeros are zeros, or values
/// that round to zero: it is written as it is.
std::vector<EncodedTensor> encode_sparse(const std::string& module, const Shape& shape,
                                         std::span<const float> values, DType dtype);
std::vector<EncodedTensor> encode_sparse(const std::string& module, const ops::CodedMatrix& matrix,
                                         DType scales);
/// The most that it can give beside what a dense matrix of codes, or of values, has.
std::vector<TensorSpec> most_of_sparse(const std::string& module, const Shape& shape, bool are_codes);

/// The most that encode_compressed() can give for a matrix.
std::vector<TensorSpec> most_of_compressed(const std::string& module, const Shape& shape,
                                           const ops::PackedSpec& spec);

}  // namespace trireme
