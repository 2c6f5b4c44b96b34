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

/// IEEE binary16. All cases are computed and one is selected: loops over conversions vectorise.
struct fp16 {
  uint16_t bits = 0;

  fp16() = default;
  explicit constexpr fp16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t magnitude = u & 0x7fffffffu;
    const uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
    // Adding 0.5 aligns the mantissa so that the hardware does the rounding.
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t out = magnitude < 0x38800000u ? subnormal : normal;
    out = magnitude >= 0x477ff000u ? 0x7c00u : out;  // rounds past 65504: infinity
    out = magnitude > 0x7f800000u ? 0x7e00u : out;   // NaN
    bits = static_cast<uint16_t>(out | sign);
  }
  constexpr operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + 0x38800000u) -
                                                       std::bit_cast<float>(0x38800000u));
    uint32_t out = magnitude >= 0x00800000u ? magnitude + 0x38000000u : subnormal;
    out = magnitude >= 0x0f800000u ? magnitude + 0x70000000u : out;  // infinity and NaN
    return std::bit_cast<float>(out | sign);
  }
};

}  // namespace trireme
