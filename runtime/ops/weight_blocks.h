// Weights in blocks of a row that share scales, laid out as ggml does (github.com/ggml-org/ggml,
// ggml-common.h): what GGUF files hold. In memory of the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace trireme::ops {

enum class BlockType : uint8_t { q8_0, q4_0, q4_1, q4_k, q6_k };

/// Of one block: how many elements it stands for, and its bytes.
struct BlockLayout {
  int64_t elements;
  int64_t bytes;
};

constexpr BlockLayout layout_of(BlockType type) {
  constexpr BlockLayout kLayouts[] = {{32, 34}, {32, 18}, {32, 20}, {256, 144}, {256, 210}};
  return kLayouts[static_cast<size_t>(type)];
}

/// The elements of whole blocks. `blocks` may be unaligned; `values` has layout_of(type).elements for each
/// (CHECK). Every value has the bits that the reference (gguf.quants of ggml's Python package) computes: each
/// product and difference is rounded to fp32.
void decode_blocks(BlockType type, std::span<const std::byte> blocks, std::span<float> values);

/// Blocks of q8_0: the scale is the largest magnitude / 127, in fp16, elements are multiplied by its
/// reciprocal in fp32 and rounded half away from zero, as ggml's quantize_row_q8_0_ref does. Sizes as above.
/// Values must be finite (see can_encode_q8_0).
void encode_q8_0(std::span<const float> values, std::span<std::byte> blocks);

/// Whether all values are finite and no scale exceeds what fp16 can hold (magnitudes up to 127 * 65504).
bool can_encode_q8_0(std::span<const float> values);

/// Values stored as 16 bits each, little endian, perhaps unaligned.
void decode_fp16(std::span<const std::byte> stored, std::span<float> values);
void decode_bf16(std::span<const std::byte> stored, std::span<float> values);

}  // namespace trireme::ops
