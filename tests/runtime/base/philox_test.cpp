#include "runtime/base/philox.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

// Known answers of the authors' Random123 distribution (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, MatchesTheAuthorsKnownAnswers) {
  EXPECT_EQ(philox4x32(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(~0ull, ~0ull, ~0ull),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x0370734413198a2eull),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, NormalNumbersHaveTheMomentsOfANormalDistribution) {
  double sum = 0, square = 0, fourth = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    for (const float x : philox_normal4(42, i, 0)) {
      sum += x;
      square += static_cast<double>(x) * x;
      fourth += static_cast<double>(x) * x * x * x;
    }
  }
  EXPECT_NEAR(sum / (4.0 * n), 0.0, 0.01);
  EXPECT_NEAR(square / (4.0 * n), 1.0, 0.01);
  EXPECT_NEAR(fourth / (4.0 * n), 3.0, 0.06);
}

TEST(Philox, LogarithmAndDirectionFollowTheMathLibrary) {
  for (uint32_t k = 0; k < 1u << 23; k += 7) {
    const uint32_t bits = k << 9;
    const double u = uniform_from_bits(bits), angle = 2 * std::numbers::pi * (k + 0.5) * 0x1p-23;
    ASSERT_NEAR(log_polynomial(uniform_from_bits(bits)) / std::log(u), 1.0, 1.2e-7) << k;
    const Direction d = direction_from_bits(bits);
    ASSERT_NEAR(d.cosine, std::cos(angle), 1.5e-7) << k;
    ASSERT_NEAR(d.sine, std::sin(angle), 1.5e-7) << k;
  }
}

TEST(Philox, UniformNumbersLieStrictlyInside) {
  EXPECT_GT(uniform_from_bits(0), 0.0f);
  EXPECT_LT(uniform_from_bits(~0u), 1.0f);
}

}  // namespace
}  // namespace trireme
