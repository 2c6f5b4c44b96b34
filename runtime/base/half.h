// 16-bit floating-point storage types. Arithmetic happens in float; conversion rounds to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace trireme {

/// bfloat16: the upper half of an IEEE binary32.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit constexpr bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(is_nan ? ((u >> 16) | 0x40u) : rounded);
  }
  constexpr operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// IEEE binary16.
struct fp16 {
  uint16_t bits = 0;

  fp16() = default;
  explicit constexpr fp16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t magnitude = u & 0x7fffffffu;
    uint32_t out;
    if (magnitude > 0x7f800000u) {
      out = 0x7e00u;  // NaN
    } else if (magnitude >= 0x477ff000u) {
      out = 0x7c00u;  // rounds past 65504: infinity
    } else if (magnitude < 0x38800000u) {
      // Subnormal: adding 0.5 aligns the mantissa so that the hardware does the rounding.
      out = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      out = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    bits = static_cast<uint16_t>(out | sign);
  }
  constexpr operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
    uint32_t out;
    if (magnitude >= 0x0f800000u) {
      out = magnitude + 0x70000000u;  // infinity and NaN
    } else if (magnitude >= 0x00800000u) {
      out = magnitude + 0x38000000u;
    } else {
      out = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + 0x38800000u) -
                                    std::bit_cast<float>(0x38800000u));
    }
    return std::bit_cast<float>(out | sign);
  }
};

}  // namespace trireme
