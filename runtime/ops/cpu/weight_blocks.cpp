// Compiled without contraction of products and sums (cmake/targets.cmake): values have the reference's bits
// on every machine.
#include "runtime/ops/weight_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops {

namespace {

TRIREME_INLINE float half_at(const uint8_t* bytes) {
  fp16 half;
  std::memcpy(&half.bits, bytes, sizeof half.bits);
  return half;
}

/// 32 nibbles, the low ones of 16 bytes first, minus an offset.
TRIREME_INLINE void nibbles(const uint8_t* packed, int offset, float* out) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<float>((packed[i] & 15) - offset);
  for (int i = 0; i < 16; ++i) out[16 + i] = static_cast<float>((packed[i] >> 4) - offset);
}

TRIREME_VECTORIZED void decode_q8_0(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 34, out += 32) {
    const float scale = half_at(in);
    for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * scale;
  }
}

TRIREME_VECTORIZED void decode_q4_0(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 18, out += 32) {
    const float scale = half_at(in);
    nibbles(in + 2, 8, out);
    for (int i = 0; i < 32; ++i) out[i] *= scale;
  }
}

TRIREME_VECTORIZED void decode_q4_1(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 20, out += 32) {
    const float scale = half_at(in), least = half_at(in + 2);
    nibbles(in + 4, 0, out);
    for (int i = 0; i < 32; ++i) out[i] = out[i] * scale + least;
  }
}

/// Of a block of q4_k: the 6-bit factors of sub-block `i`'s scale and of its minimum.
struct SixBits {
  int scale, least;
};
TRIREME_INLINE SixBits six_bits(const uint8_t* packed, int i) {
  if (i < 4) return {packed[i] & 63, packed[i + 4] & 63};
  return {(packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4), (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4)};
}

TRIREME_VECTORIZED void decode_q4_k(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 144) {
    const float scale = half_at(in), least = half_at(in + 2);
    for (int i = 0; i < 8; ++i, out += 32) {
      const SixBits factors = six_bits(in + 4, i);
      const float d = scale * static_cast<float>(factors.scale);
      const float m = least * static_cast<float>(factors.least);
      const uint8_t* packed = in + 16 + (i / 2) * 32;
      const int shift = (i % 2) * 4;
      for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>((packed[j] >> shift) & 15) - m;
    }
  }
}

TRIREME_VECTORIZED void decode_q6_k(const uint8_t* in, int64_t blocks, float* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 210) {
    const float scale = half_at(in + 208);
    for (int i = 0; i < 16; ++i, out += 16) {
      const float d = scale * static_cast<float>(static_cast<int8_t>(in[192 + i]));
      // A half block of 128 elements is four rows of 32: low nibbles of 64 bytes, then their high nibbles.
      const int row = i / 2 % 4, half = i / 8, within = i % 2 * 16;
      const uint8_t* low = in + half * 64 + row % 2 * 32 + within;
      const uint8_t* high = in + 128 + half * 32 + within;
      const int low_shift = row / 2 * 4, high_shift = row * 2;
      for (int j = 0; j < 16; ++j) {
        const int q = ((low[j] >> low_shift) & 15) | (((high[j] >> high_shift) & 3) << 4);
        out[j] = d * static_cast<float>(q - 32);
      }
    }
  }
}

/// std::round rounds half away from zero too, and is no single instruction. For values of at most 127 the
/// fraction that is left by truncation is exact.
TRIREME_INLINE int8_t rounded(float x) {
  const auto whole = static_cast<int32_t>(x);
  const float rest = x - static_cast<float>(whole);
  return static_cast<int8_t>(whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0));
}

TRIREME_INLINE float largest_magnitude(const float* x) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

TRIREME_VECTORIZED void pack_q8_0(const float* in, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 34) {
    const float scale = largest_magnitude(in) / 127.0f;
    // Where the reciprocal is no number the scale is zero in fp16, and so is every value.
    const float reciprocal = 1.0f / scale;
    const float inverse = reciprocal <= std::numeric_limits<float>::max() ? reciprocal : 0.0f;
    const fp16 stored(scale);
    std::memcpy(out, &stored.bits, sizeof stored.bits);
    for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<uint8_t>(rounded(in[i] * inverse));
  }
}

TRIREME_VECTORIZED bool are_within(const float* in, int64_t count, float limit) {
  bool within = true;
  for (int64_t i = 0; i < count; ++i) within &= std::fabs(in[i]) <= limit;  // false for NaN
  return within;
}

TRIREME_VECTORIZED void widen_fp16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = half_at(in + 2 * i);
}

TRIREME_VECTORIZED void widen_bf16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    bf16 value;
    std::memcpy(&value.bits, in + 2 * i, sizeof value.bits);
    out[i] = value;
  }
}

int64_t num_blocks(BlockType type, size_t bytes, size_t values) {
  const BlockLayout layout = layout_of(type);
  const int64_t blocks = static_cast<int64_t>(bytes) / layout.bytes;
  TRIREME_CHECK(static_cast<int64_t>(bytes) == blocks * layout.bytes &&
                    static_cast<int64_t>(values) == blocks * layout.elements,
                "{} bytes of blocks for {} values", bytes, values);
  return blocks;
}

const uint8_t* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

}  // namespace

void decode_blocks(BlockType type, std::span<const std::byte> blocks, std::span<float> values) {
  const int64_t count = num_blocks(type, blocks.size(), values.size());
  switch (type) {
    case BlockType::q8_0:
      return decode_q8_0(raw(blocks), count, values.data());
    case BlockType::q4_0:
      return decode_q4_0(raw(blocks), count, values.data());
    case BlockType::q4_1:
      return decode_q4_1(raw(blocks), count, values.data());
    case BlockType::q4_k:
      return decode_q4_k(raw(blocks), count, values.data());
    case BlockType::q6_k:
      return decode_q6_k(raw(blocks), count, values.data());
  }
}

void encode_q8_0(std::span<const float> values, std::span<std::byte> blocks) {
  pack_q8_0(values.data(), num_blocks(BlockType::q8_0, blocks.size(), values.size()),
            reinterpret_cast<uint8_t*>(blocks.data()));
}

bool can_encode(BlockType type, std::span<const float> values) {
  return are_within(values.data(), std::ssize(values), largest_in(type));
}

void decode_fp16(std::span<const std::byte> stored, std::span<float> values) {
  TRIREME_CHECK(stored.size() == values.size() * 2, "{} bytes for {} values", stored.size(), values.size());
  widen_fp16(raw(stored), std::ssize(values), values.data());
}

void decode_bf16(std::span<const std::byte> stored, std::span<float> values) {
  TRIREME_CHECK(stored.size() == values.size() * 2, "{} bytes for {} values", stored.size(), values.size());
  widen_bf16(raw(stored), std::ssize(values), values.data());
}

}  // namespace trireme::ops
