// Elements of GGUF's types from and to fp32.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/io/gguf/gguf_type.h"

namespace trireme {

/// Whole blocks as fp32; sizes must fit (CHECK).
void decode_gguf(GgufType type, std::span<const std::byte> stored, std::span<float> values);

/// fp32 as f32, f16, bf16 (rounded to nearest even) or q8_0 (ops::encode_q8_0); other types are a CHECK.
/// False, and nothing was stored, when q8_0 cannot hold the values: one is not finite, or larger than 127 *
/// 65504.
bool encode_gguf(GgufType type, std::span<const float> values, std::span<std::byte> stored);

}  // namespace trireme
