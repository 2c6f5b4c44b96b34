#include "runtime/ops/cpu/fp16_conversion.h"

#include <bit>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace trireme {
namespace {

std::vector<fp16> all_codes() {
  std::vector<fp16> codes(0x10000);
  for (size_t i = 0; i < codes.size(); ++i) codes[i].bits = static_cast<uint16_t>(i);
  return codes;
}

// Every value of fp16, what lies halfway to the next, and the fp32 neighbours of that.
std::vector<float> hard_cases() {
  std::vector<float> values;
  const auto codes = all_codes();
  for (size_t i = 0; i < codes.size(); ++i) {
    const float value = codes[i], next = codes[i ^ 1];
    if (!std::isfinite(value)) {
      values.push_back(value);
      continue;
    }
    const float middle = std::isfinite(next) ? 0.5f * (value + next) : std::copysign(65520.0f, value);
    for (const float x : {value, middle}) {
      values.insert(values.end(), {x, std::nextafter(x, 1e9f), std::nextafter(x, -1e9f)});
    }
  }
  return values;
}

TEST(Fp16Conversion, EveryWayGivesTheBitsOfTheType) {
  const auto codes = all_codes();
  const auto values = hard_cases();
  for (const auto& way : ops::cpu::fp16_conversions()) {
    if (!way.available) continue;
    SCOPED_TRACE(way.instructions);
    std::vector<float> wide(codes.size());
    way.widen(codes.data(), wide.data(), static_cast<int64_t>(codes.size()));
    for (size_t i = 0; i < codes.size(); ++i) {
      const auto expected = static_cast<float>(codes[i]);
      ASSERT_TRUE(std::isnan(expected)
                      ? std::isnan(wide[i])
                      : std::bit_cast<uint32_t>(wide[i]) == std::bit_cast<uint32_t>(expected))
          << i;
    }
    std::vector<fp16> rounded(values.size());
    way.round(values.data(), rounded.data(), static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        ASSERT_TRUE(std::isnan(static_cast<float>(rounded[i])));
      } else {
        ASSERT_EQ(rounded[i].bits, fp16(values[i]).bits) << values[i];
      }
    }
  }
}

TEST(Fp16Conversion, WritesNothingBehindTheEnd) {
  for (const auto& way : ops::cpu::fp16_conversions()) {
    if (!way.available) continue;
    SCOPED_TRACE(way.instructions);
    for (int64_t n = 0; n < 40; ++n) {
      std::vector<float> values(41, 2.5f), wide(41, -1.0f);
      std::vector<fp16> halves(41, fp16(7.0f));
      way.round(values.data(), halves.data(), n);
      way.widen(halves.data(), wide.data(), n);
      for (int64_t i = 0; i < 41; ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(static_cast<float>(halves[at]), i < n ? 2.5f : 7.0f);
        ASSERT_EQ(wide[at], i < n ? 2.5f : -1.0f);
      }
    }
  }
}

}  // namespace
}  // namespace trireme
