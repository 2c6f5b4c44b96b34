#include "runtime/base/float8.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace trireme {
namespace {

template <class T>
struct Format;
template <>
struct Format<fp8_e4m3> {
  static constexpr int kMantissa = 3, kBias = 7;
  static constexpr double kLargest = 448, kSmallest = 0x1p-9;
  static bool is_nan(int code) { return (code & 0x7f) == 0x7f; }
  static bool is_infinite(int) { return false; }
};
template <>
struct Format<fp8_e5m2> {
  static constexpr int kMantissa = 2, kBias = 15;
  static constexpr double kLargest = 57344, kSmallest = 0x1p-16;
  static bool is_nan(int code) { return (code & 0x7f) > 0x7c; }
  static bool is_infinite(int code) { return (code & 0x7f) == 0x7c; }
};

template <class T>
T of_code(int code) {
  T value;
  value.bits = static_cast<uint8_t>(code);
  return value;
}

// The value of a finite code by the definition: (-1)^s 2^(e - bias) (1 + m / 2^M), or 2^(1 - bias) m / 2^M.
template <class T>
double defined_value(int code) {
  using F = Format<T>;
  const int magnitude = code & 0x7f;
  const int exponent = magnitude >> F::kMantissa, mantissa = magnitude & ((1 << F::kMantissa) - 1);
  const double fraction = std::ldexp(mantissa, -F::kMantissa);
  const double value =
      exponent == 0 ? std::ldexp(fraction, 1 - F::kBias) : std::ldexp(1 + fraction, exponent - F::kBias);
  return code >= 0x80 ? -value : value;
}

template <class T>
class Float8Test : public testing::Test {};
using Types = testing::Types<fp8_e4m3, fp8_e5m2>;
TYPED_TEST_SUITE(Float8Test, Types);

TYPED_TEST(Float8Test, EveryCodeHasItsValueAndSurvivesTheRoundTrip) {
  using F = Format<TypeParam>;
  for (int code = 0; code < 256; ++code) {
    const float value = of_code<TypeParam>(code);
    if (F::is_nan(code)) {
      EXPECT_TRUE(std::isnan(value)) << code;
      EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(value)))) << code;
    } else if (F::is_infinite(code)) {
      EXPECT_EQ(value, code < 0x80 ? INFINITY : -INFINITY);
    } else {
      EXPECT_EQ(value, defined_value<TypeParam>(code)) << code;
      EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
      EXPECT_EQ(TypeParam(value).bits, code);
    }
  }
  EXPECT_EQ(static_cast<float>(of_code<TypeParam>(TypeParam::kMaxCode)), F::kLargest);
  EXPECT_EQ(static_cast<float>(of_code<TypeParam>(1)), F::kSmallest);
}

TYPED_TEST(Float8Test, RoundsToNearestEvenBetweenAllNeighbours) {
  for (int code = 0; code < TypeParam::kMaxCode; ++code) {
    const float low = of_code<TypeParam>(code), high = of_code<TypeParam>(code + 1);
    const float middle = 0.5f * (low + high);
    for (const int sign : {0, 0x80}) {
      const auto rounded = [&](float x) { return static_cast<int>(TypeParam(sign != 0 ? -x : x).bits); };
      EXPECT_EQ(rounded(std::nextafter(middle, 0.0f)), code | sign);
      EXPECT_EQ(rounded(middle), (code + code % 2) | sign);
      EXPECT_EQ(rounded(std::nextafter(middle, 1e9f)), (code + 1) | sign);
    }
  }
}

TYPED_TEST(Float8Test, SaturatesAndKeepsNotANumber) {
  using F = Format<TypeParam>;
  const auto largest = static_cast<float>(F::kLargest);
  for (const float x : {std::nextafter(largest, 1e9f), 1.04f * largest, 1.1f * largest, 1e30f,
                        std::numeric_limits<float>::max(), INFINITY}) {
    EXPECT_EQ(TypeParam(x).bits, TypeParam::kMaxCode) << x;
    EXPECT_EQ(TypeParam(-x).bits, TypeParam::kMaxCode | 0x80) << x;
  }
  EXPECT_EQ(static_cast<float>(TypeParam(std::numeric_limits<float>::denorm_min())), 0.0f);
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(NAN))));
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(-NAN))));
}

}  // namespace
}  // namespace trireme
