#include "launch/scale/statistics.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "launch/scale/serial_fraction.h"

namespace trireme::launch {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(ScaleStatistics, MediansPassOverWhatIsMissing) {
  const std::vector<double> values = {3, kNan, 1, 10, 2};
  const Spread spread = spread_of(values);
  EXPECT_EQ(spread.median, 2.5);
  EXPECT_EQ(spread.least, 1);
  EXPECT_EQ(spread.most, 10);
  EXPECT_EQ(spread.count, 4);
  EXPECT_TRUE(std::isnan(spread_of({}).median));
  EXPECT_EQ(spread_of({}).count, 0);
  const std::vector<double> one = {7};
  EXPECT_EQ(spread_of(one).relative(), 0) << "one value has no spread";
}

TEST(ScaleStatistics, ALineIsFoundAndItsErrorIsThatOfTextbooks) {
  // Unweighted: y = 1 + 2x with residuals 1, -2, 1 at x = 0, 1, 2: variance of the slope 6 / 1 / 2.
  const std::vector<LinePoint> points = {{0, 2}, {1, 1}, {2, 6}};
  const auto line = fit_line(points);
  ASSERT_TRUE(line);
  EXPECT_DOUBLE_EQ(line->a, 1);
  EXPECT_DOUBLE_EQ(line->b, 2);
  EXPECT_DOUBLE_EQ(line->var_b, 3);
  EXPECT_DOUBLE_EQ(line->var_a, 6 * (1.0 / 3 + 0.5));
  EXPECT_NEAR(line->r2, 1 - 6.0 / 14, 1e-12);
  EXPECT_FALSE(fit_line(std::vector<LinePoint>{{0, 2}, {1, 1}})) << "two points";
  EXPECT_FALSE(fit_line(std::vector<LinePoint>{{1, 2}, {1, 1}, {1, 3}})) << "one x";
  EXPECT_FALSE(fit_line(std::vector<LinePoint>{{0, 2}, {1, kNan}, {2, 3}})) << "one is missing";
}

std::vector<Throughput> measured(ScaleMode mode, double s, const std::vector<int>& ranks, double noise,
                                 int repeats = 1) {
  std::mt19937 random(11);
  std::normal_distribution<double> scatter(1, noise);
  std::vector<Throughput> runs;
  for (const int n : ranks) {
    for (int i = 0; i < repeats; ++i) {
      const double ideal = mode == ScaleMode::strong ? 1000 / (s + (1 - s) / n) : 1000 * (s + (1 - s) * n);
      runs.push_back({n, ideal * (noise > 0 ? scatter(random) : 1)});
    }
  }
  return runs;
}

class SerialFractions : public testing::TestWithParam<ScaleMode> {};

TEST_P(SerialFractions, KnownOnesAreFoundExactly) {
  for (const double s : {0.0, 0.03, 0.25, 1.0, -0.02}) {
    const SerialFraction fit = fit_serial_fraction(GetParam(), measured(GetParam(), s, {1, 2, 4, 8}, 0));
    EXPECT_EQ(fit.missing, "");
    EXPECT_NEAR(fit.fraction, s, 1e-9);
    EXPECT_NEAR(fit.error, 0, 1e-6);
    EXPECT_NEAR(fit.r2, 1, 1e-6);
  }
}

TEST_P(SerialFractions, NoiseIsInTheError) {
  const double s = 0.1;
  const SerialFraction fit = fit_serial_fraction(GetParam(), measured(GetParam(), s, {1, 2, 4, 8}, 0.02, 5));
  EXPECT_NEAR(fit.fraction, s, 4 * fit.error);
  EXPECT_GT(fit.error, 0.0005);
  EXPECT_LT(fit.error, 0.05);
  EXPECT_GT(fit.r2, 0.9);
}

TEST_P(SerialFractions, TheSmallestRankCountNeedNotBeOne) {
  const SerialFraction fit = fit_serial_fraction(GetParam(), measured(GetParam(), 0.05, {2, 4, 8}, 0));
  EXPECT_NEAR(fit.fraction, 0.05, 1e-9);
}

TEST_P(SerialFractions, TooLittleIsSaid) {
  for (auto runs : {std::vector<Throughput>{},
                    {{1, 100}},
                    {{1, 100}, {2, 190}, {2, 195}},
                    {{1, 100}, {2, kNan}, {4, 380}},
                    {{1, 100}, {2, 0}, {4, 380}}}) {
    const SerialFraction fit = fit_serial_fraction(GetParam(), runs);
    EXPECT_NE(fit.missing, "");
    EXPECT_LT(fit.rank_counts, 3);
  }
}

INSTANTIATE_TEST_SUITE_P(Laws, SerialFractions, testing::Values(ScaleMode::strong, ScaleMode::weak));

}  // namespace
}  // namespace trireme::launch
