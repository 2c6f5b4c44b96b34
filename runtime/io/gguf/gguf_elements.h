// Elements of GGUF's types from and to fp32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/io/gguf/gguf_type.h"

namespace trireme {

/// Whole blocks as fp32; sizes must fit (CHECK).
void decode_gguf(GgufType type, std::span<const std::byte> stored, std::span<float> values);

/// Rows of `columns` values as f32, f16, bf16 (rounded to nearest even) or blocks (ops::encode_rows, which
/// takes `importance`). False, and nothing was stored, when blocks cannot hold the values: one is not finite,
/// or larger than largest_in_gguf().
bool encode_gguf(GgufType type, int64_t columns, std::span<const float> values,
                 std::span<const float> importance, std::span<std::byte> stored, int num_threads = 1);
/// The same of whole blocks.
bool encode_gguf(GgufType type, std::span<const float> values, std::span<std::byte> stored);
/// The largest magnitude that blocks of this type hold; infinite of floats.
float largest_in_gguf(GgufType type);

}  // namespace trireme
