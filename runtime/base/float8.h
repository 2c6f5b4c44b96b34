// 8-bit floating-point storage types of the OCP 8-bit floating point specification (OFP8, revision 1.0;
// Micikevicius et al., arXiv 2209.05433). Arithmetic happens in float.
#pragma once

#include <bit>
#include <cstdint>

namespace trireme {

/// A sign, 7 - M bits of exponent and M of mantissa, subnormals included. `kMax` is the code of the largest
/// finite value; the codes above it are infinity and NaN as the derived type says.
template <int M, int Bias, uint8_t kMax>
struct Float8 {
  uint8_t bits = 0;

  /// The code of the largest finite value.
  static constexpr uint8_t kMaxCode = kMax;
  static constexpr uint8_t kNaNCode = 0x7f;

  /// Rounds to nearest even and saturates: what is larger than every finite value, infinity too, becomes the
  /// largest one. NaN stays NaN. All cases are computed and one is selected: loops over it vectorise.
  static constexpr uint8_t encode(float value) {
    constexpr int kShift = 23 - M;
    constexpr uint32_t kRebias = uint32_t{127 - Bias} << 23;
    // Adding it puts the last bit of a subnormal at the last bit of the sum: the hardware rounds.
    constexpr float kAlign = std::bit_cast<float>(uint32_t{1 - Bias - M + 23 + 127} << 23);
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = u & 0x7fffffffu;
    const uint32_t half = (1u << (kShift - 1)) - 1u + ((magnitude >> kShift) & 1u);
    const uint32_t normal = (magnitude - kRebias + half) >> kShift;
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + kAlign) - std::bit_cast<uint32_t>(kAlign);
    uint32_t code = magnitude < kRebias + (1u << 23) ? subnormal : normal;
    code = magnitude >= largest_bits() ? kMax : code;
    code = magnitude > 0x7f800000u ? kNaNCode : code;
    return static_cast<uint8_t>(code | ((u >> 24) & 0x80u));
  }

 protected:
  /// The value of a finite code.
  static constexpr float decode(uint8_t bits) {
    const uint32_t magnitude = uint32_t{bits & 0x7fu} << (23 - M);
    const uint32_t sign = uint32_t{bits & 0x80u} << 24;
    // As a subnormal the mantissa counts units of 2^(1 - Bias - M).
    const float unit = std::bit_cast<float>(uint32_t{1 - Bias - M + 127} << 23);
    const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(bits & 0x7fu) * unit);
    const uint32_t normal = magnitude + (uint32_t{127 - Bias} << 23);
    return std::bit_cast<float>((magnitude < (1u << 23) ? subnormal : normal) | sign);
  }

 private:
  static constexpr uint32_t largest_bits() {
    return (uint32_t{kMax} << (23 - M)) + (uint32_t{127 - Bias} << 23);
  }
};

/// 4 bits of exponent, 3 of mantissa: up to 448, steps of 2^-9 around zero. No infinity; 0x7f and 0xff are
/// NaN.
struct fp8_e4m3 : Float8<3, 7, 0x7e> {
  fp8_e4m3() = default;
  explicit constexpr fp8_e4m3(float value) { bits = encode(value); }
  constexpr operator float() const {
    const float value = decode(bits);
    return (bits & 0x7fu) > kMaxCode ? std::bit_cast<float>(0x7fc00000u) : value;
  }
};

/// 5 bits of exponent, 2 of mantissa: up to 57344, steps of 2^-16 around zero; infinity and NaN as in IEEE
/// 754.
struct fp8_e5m2 : Float8<2, 15, 0x7b> {
  fp8_e5m2() = default;
  explicit constexpr fp8_e5m2(float value) { bits = encode(value); }
  constexpr operator float() const {
    const float value = decode(bits);
    const uint32_t sign = uint32_t{bits & 0x80u} << 24;
    const uint32_t special = (bits & 0x7fu) == kMaxCode + 1u ? 0x7f800000u : 0x7fc00000u;
    return (bits & 0x7fu) > kMaxCode ? std::bit_cast<float>(special | sign) : value;
  }
};

}  // namespace trireme
