// Numbers in stored tensors, checked: what all formats of quantized weights need of a file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

/// Tensors of a file or directory by name; outlive what is made of them.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

/// UserError (bad_input) naming `path` and the tensor where it is missing, of another type or shape.
const StoredTensor& tensor_of(const StoredTensors& tensors, const std::string& path, const std::string& name,
                              DType dtype, const Shape& shape);
/// The same of signed bytes.
const StoredTensor& signed_bytes_of(const StoredTensors& tensors, const std::string& path,
                                    const std::string& name, const Shape& shape);
/// The same of f32, bf16 or f16, in any of these shapes.
const StoredTensor& floats_of(const StoredTensors& tensors, const std::string& path, const std::string& name,
                              const std::vector<Shape>& shapes);

int32_t int32_at(const StoredTensor& tensor, int64_t index);
int64_t int64_at(const StoredTensor& tensor, int64_t index);
/// Of f32, bf16 or f16.
float float_at(const StoredTensor& tensor, int64_t index);
std::vector<int32_t> all_int32(const StoredTensor& tensor);

/// Integers of 4 or 8 bits that follow each other in words of 32, the lowest bits first.
inline uint32_t packed_at(const StoredTensor& words, int64_t word, int64_t within, int bits) {
  const auto whole = static_cast<uint32_t>(int32_at(words, word));
  return (whole >> (within * bits)) & ((1u << bits) - 1u);
}
/// Words for so many.
constexpr int64_t words_of(int64_t count, int bits) { return (count * bits + 31) / 32; }

}  // namespace trireme
