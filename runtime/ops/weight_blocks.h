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
/// Values must be finite (see can_encode).
void encode_q8_0(std::span<const float> values, std::span<std::byte> blocks);

/// Rows of `columns` values (whole blocks, CHECK) as blocks. q8_0: encode_q8_0. q4_0: the scale is the value
/// of largest magnitude / -8, in fp16; bits of gguf.quants and ggml's quantize_row_q4_0_ref. The others:
/// scales and offsets of the least squared error among those tried. Each block of 32 (q6_k: 16) is rounded by
/// sixteen scales about the one that spans it, and for each of the codes that this gives scale and offset
/// follow by least squares; where these are six- or eight-bit factors, sixteen near the wanted ones are
/// tried, then the fp16 numbers before them follow by least squares, and the factors anew. Bits are the same
/// on every machine and for any number of threads. `importance`, [columns] or empty, not negative (CHECK):
/// what an input's squared errors count for; not of q8_0 and q4_0. Values must be as can_encode() says.
void encode_rows(BlockType type, int64_t columns, std::span<const float> values,
                 std::span<const float> importance, std::span<std::byte> blocks, int num_threads = 1);

/// The largest magnitude whose scale or offset fp16 can hold.
float largest_in(BlockType type);
/// Whether all values are finite and within largest_in().
bool can_encode(BlockType type, std::span<const float> values);

/// Values stored as 16 bits each, little endian, perhaps unaligned.
void decode_fp16(std::span<const std::byte> stored, std::span<float> values);
void decode_bf16(std::span<const std::byte> stored, std::span<float> values);

}  // namespace trireme::ops
