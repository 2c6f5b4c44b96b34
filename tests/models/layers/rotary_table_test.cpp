#include "models/layers/rotary_table.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace trireme {
namespace {

TEST(RotaryTable, HasCosinesAndSinesTimesTheAttentionFactor) {
  Context ctx;
  RotarySpec spec{.dims = 6, .theta = 100, .scaling = RotaryScaling::longrope, .scaling_factor = 4};
  spec.original_positions = 5;
  spec.attention_factor = 1.25;
  spec.short_factors = {1, 2, 3};
  spec.long_factors = {2, 4, 8};
  for (const int64_t positions : {5, 7}) {
    const std::vector<float> table = test::to_vector(rotary_table(ctx, spec, positions));
    ASSERT_EQ(table.size(), static_cast<size_t>(positions * 6));
    for (size_t p = 0; p < static_cast<size_t>(positions); ++p) {
      for (size_t i = 0; i < 3; ++i) {
        const double divisor = positions == 5 ? spec.short_factors[i] : spec.long_factors[i];
        const double angle = static_cast<double>(p) / (divisor * std::pow(100.0, static_cast<double>(i) / 3));
        EXPECT_NEAR(table[p * 6 + i], 1.25 * std::cos(angle), 1e-7) << p << " " << i;
        EXPECT_NEAR(table[p * 6 + 3 + i], 1.25 * std::sin(angle), 1e-7) << p << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace trireme
