#include "models/compress/input_scales.h"

#include <cmath>

#include <gmock/gmock.h>

#include "runtime/ops/packed/quantize_row.h"
#include "tests/models/compress/matrices.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using test::correlated_inputs;
using test::drawn_weights;
using test::error_of;
using test::statistics_of;
using test::values_of;
using testing::Each;

constexpr int64_t kInputs = 90, kOutputs = 31;
constexpr ops::PackedSpec kInt4{PackedFormat::int4, 32};

/// What a matrix whose inputs are divided by s becomes.
std::vector<float> scaled_values(Context& ctx, const std::vector<float>& w, const std::vector<float>& s,
                                 const ops::PackedSpec& spec) {
  std::vector<float> scaled(w);
  for (size_t i = 0; i < w.size(); ++i) scaled[i] *= s[i % s.size()];
  auto values = values_of(
      quantize_matrix(ctx, scaled, std::ssize(w) / std::ssize(s), std::ssize(s), {}, {spec}).matrix);
  for (size_t i = 0; i < w.size(); ++i) values[i] /= s[i % s.size()];
  return values;
}

TEST(InputScales, AwqIsNeverWorseThanNone) {
  Context ctx({}, 2);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const auto w = drawn_weights(kOutputs * kInputs, seed);
    auto x = correlated_inputs(100, kInputs, seed + 100);
    for (size_t t = 0; t < 100; ++t) x[t * kInputs + 5] = 0;
    const auto s = statistics_of(x, kInputs);
    const ops::PackedSpec spec{PackedFormat::int4, seed % 2 == 0 ? 32 : 0, seed % 3 != 0};
    const ScaledMatrix matrix{w, kOutputs, {.spec = spec}};
    const InputScales result = input_scales(ctx, InputScaling::awq, {&matrix, 1}, s);
    EXPECT_LE(result.error, result.error_before);
    EXPECT_EQ(result.scales[5], 1.0f);
    const double before = error_of(w, scaled_values(ctx, w, std::vector<float>(kInputs, 1.0f), spec), s);
    EXPECT_NEAR(result.error_before, before, 1e-9 * before);
    const double error = error_of(w, scaled_values(ctx, w, result.scales, spec), s);
    EXPECT_NEAR(result.error, error, 1e-4 * error);
    float least = 1e30f, most = 0;
    for (size_t i = 0; i < result.scales.size(); ++i) {
      if (i == 5) continue;
      least = std::min(least, result.scales[i]);
      most = std::max(most, result.scales[i]);
    }
    EXPECT_NEAR(least * most, 1, 1e-5);
  }
}

TEST(InputScales, WhatGainsNothingKeepsOnes) {
  Context ctx({}, 1);
  // Values that are numbers of their groups: no error to lose.
  std::vector<float> w(kOutputs * kInputs);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(static_cast<int>(i * 5 % 15) - 7);
  const auto s = statistics_of(correlated_inputs(50, kInputs, 1), kInputs);
  const ScaledMatrix matrix{w, kOutputs, {.spec = kInt4}};
  const InputScales result = input_scales(ctx, InputScaling::awq, {&matrix, 1}, s);
  EXPECT_EQ(result.error, 0);
  EXPECT_EQ(result.strength, 0);
  EXPECT_THAT(result.scales, Each(1.0f));
}

TEST(InputScales, BitsDoNotDependOnThreads) {
  const auto w = drawn_weights(99 * kInputs, 3);
  const auto s = statistics_of(correlated_inputs(100, kInputs, 4), kInputs);
  const ScaledMatrix matrix{w, 99, {.spec = kInt4}};
  Context one({}, 1), three({}, 3);
  const InputScales a = input_scales(one, InputScaling::awq, {&matrix, 1}, s);
  const InputScales b = input_scales(three, InputScaling::awq, {&matrix, 1}, s);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.error, b.error);
}

TEST(InputScales, NothingAndNoTokens) {
  Context ctx({}, 1);
  const auto w = drawn_weights(kOutputs * kInputs, 5);
  const ScaledMatrix matrix{w, kOutputs, {.spec = kInt4}};
  InputStatistics empty;
  empty.inputs = kInputs;
  for (const auto method : {InputScaling::none, InputScaling::awq, InputScaling::smooth_quant}) {
    const InputScales result = input_scales(ctx, method, {&matrix, 1}, empty);
    EXPECT_EQ(std::ssize(result.scales), kInputs);
    EXPECT_THAT(result.scales, Each(1.0f));
  }
}

TEST(InputScales, SmoothQuantIsEquation4) {
  Context ctx({}, 1);
  auto a = drawn_weights(kOutputs * kInputs, 6);
  const auto b = drawn_weights(7 * kInputs, 7);
  auto x = correlated_inputs(50, kInputs, 8);
  for (size_t t = 0; t < 50; ++t) x[t * kInputs + 2] = 0;
  auto zero = b;
  for (size_t row = 0; row < kOutputs; ++row) a[row * kInputs + 3] = 0;
  for (size_t row = 0; row < 7; ++row) zero[row * kInputs + 3] = 0;
  const auto s = statistics_of(x, kInputs);
  for (const double strength : {0.0, 0.5, 0.8, 1.0}) {
    const ScaledMatrix matrices[] = {{a, kOutputs, {.spec = {PackedFormat::int8, 0}}},
                                     {zero, 7, {.spec = {PackedFormat::int8, 0}}}};
    const InputScales result = input_scales(ctx, InputScaling::smooth_quant, matrices, s, strength);
    EXPECT_EQ(result.strength, strength);
    for (size_t i = 0; i < kInputs; ++i) {
      double weight = 0;
      for (size_t row = 0; row < kOutputs; ++row)
        weight = std::max(weight, std::fabs(static_cast<double>(a[row * kInputs + i])));
      for (size_t row = 0; row < 7; ++row)
        weight = std::max(weight, std::fabs(static_cast<double>(zero[row * kInputs + i])));
      const double largest = static_cast<double>(s.largest[i]);
      const double expected =
          i == 2 || i == 3 ? 1.0 : std::pow(largest, strength) / std::pow(weight, 1 - strength);
      EXPECT_FLOAT_EQ(result.scales[i], static_cast<float>(expected)) << i;
    }
  }
}

TEST(InputScales, InputsOfAnySizeGiveFiniteScales) {
  Context ctx({}, 1);
  auto w = drawn_weights(kOutputs * kInputs, 9);
  auto x = correlated_inputs(20, kInputs, 10);
  for (size_t t = 0; t < 20; ++t) {
    x[t * kInputs + 1] *= 1e30f;
    x[t * kInputs + 2] *= 1e-35f;
  }
  for (size_t row = 0; row < kOutputs; ++row) w[row * kInputs + 4] *= 1e-38f;
  const auto s = statistics_of(x, kInputs);
  const ScaledMatrix matrix{w, kOutputs, {.spec = kInt4}};
  for (const auto method : {InputScaling::awq, InputScaling::smooth_quant}) {
    const InputScales result = input_scales(ctx, method, {&matrix, 1}, s);
    for (const float scale : result.scales) EXPECT_TRUE(std::isfinite(scale) && scale > 0) << scale;
  }
}

}  // namespace
}  // namespace trireme
