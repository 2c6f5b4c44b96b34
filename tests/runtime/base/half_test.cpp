#include "runtime/base/half.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(Half, EveryFp16ValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    fp16 h;
    h.bits = static_cast<uint16_t>(bits);
    const float f = h;
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(fp16(f))));
    } else {
      EXPECT_EQ(fp16(f).bits, h.bits) << bits;
    }
  }
}

TEST(Half, EveryBf16ValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    bf16 h;
    h.bits = static_cast<uint16_t>(bits);
    const float f = h;
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(bf16(f))));
    } else {
      EXPECT_EQ(bf16(f).bits, h.bits) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0f + 0x1p-8f)), 1.0f);  // a tie goes to the even mantissa
  EXPECT_EQ(static_cast<float>(bf16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
  EXPECT_EQ(static_cast<float>(fp16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(static_cast<float>(fp16(1.0f + 3 * 0x1p-11f)), 1.0f + 0x1p-9f);
  EXPECT_EQ(static_cast<float>(fp16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(static_cast<float>(fp16(65520.0f))));
  EXPECT_EQ(static_cast<float>(fp16(0x1p-25f)), 0.0f);
  EXPECT_EQ(static_cast<float>(fp16(std::nextafter(0x1p-25f, 1.0f))), 0x1p-24f);
  EXPECT_EQ(fp16(-0.0f).bits, 0x8000);
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

}  // namespace
}  // namespace trireme
