#include "runtime/ops/training/clip.h"

#include <cmath>
#include <limits>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

struct Clipped {
  double norm;
  float factor;
};

Clipped clip(const ops::ClipOptions& options, double weight, double squares, float factor = 0) {
  Context ctx(test_device());
  const Tensor numbers = Tensor::empty(ctx, {3}, DType::f64), out = full(ctx, {1}, DType::f32, factor);
  write<double>(numbers, {weight, squares, -1});
  ops::clip_factor(ctx, options, numbers.slice(0, 1), numbers.slice(1, 2), numbers.slice(2, 3), out);
  return {read<double>(numbers)[2], read<float>(out)[0]};
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Clip, DividesByTokensAndScaleAndShortensWhatIsLonger) {
  for (const double scale : {1.0, 1024.0}) {
    const double squares = 9e4 * scale * scale;  // a norm of 300 / 100 tokens
    const Clipped free = clip({.loss_scale = scale}, 100, squares);
    EXPECT_EQ(free.norm, 3);
    EXPECT_EQ(free.factor, static_cast<float>(1 / (100 * scale)));
    EXPECT_EQ(clip({.loss_scale = scale, .clip = 3}, 100, squares).factor, free.factor);
    const Clipped shortened = clip({.loss_scale = scale, .clip = 0.7}, 100, squares);
    EXPECT_EQ(shortened.norm, 3);
    EXPECT_EQ(shortened.factor, static_cast<float>(1 / (100 * scale) * (0.7 / 3)));
  }
}

TEST(Clip, TokensMayWeighLessThanOneTogether) {
  const Clipped light = clip({}, 0.125, 9);
  EXPECT_EQ(light.norm, 24);
  EXPECT_EQ(light.factor, 8);
}

TEST(Clip, WithoutTokensTheNormIsZero) {
  const Clipped none = clip({.loss_scale = 4, .clip = 1}, 0, 0);
  EXPECT_EQ(none.norm, 0);
  EXPECT_EQ(none.factor, 0.25f);
}

TEST(Clip, WhatIsNotFiniteStaysSo) {
  for (const double squares : {kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    const Clipped bad = clip({.clip = 1}, 10, squares);
    EXPECT_FALSE(std::isfinite(bad.norm));
    EXPECT_TRUE(std::isnan(bad.factor));
  }
  for (const float before : {INFINITY, NAN}) {
    const Clipped later = clip({}, 10, 1e4, before);
    EXPECT_EQ(later.norm, 10);
    EXPECT_TRUE(std::isnan(later.factor));
  }
}

TEST(Clip, RefusesWhatDoesNotFit) {
  Context ctx(test_device());
  const Tensor one = Tensor::empty(ctx, {1}, DType::f64), two = Tensor::empty(ctx, {2}, DType::f64);
  const Tensor single = full(ctx, {1}, DType::f32, 0);
  EXPECT_THROW(ops::clip_factor(ctx, {}, two, one, one, single), InternalError);
  EXPECT_THROW(ops::clip_factor(ctx, {}, one, single, one, single), InternalError);
  EXPECT_THROW(ops::clip_factor(ctx, {}, one, one, one, one), InternalError);
}

}  // namespace
}  // namespace trireme::test
