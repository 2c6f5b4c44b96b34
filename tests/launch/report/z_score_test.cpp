#include "launch/report/z_score.h"

#include <cmath>

#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

// 1 and 3 in turns: mean 2, standard deviation 1.
ZScore after(int count) {
  ZScore z;
  for (int i = 0; i < count; ++i) z.push(i % 2 == 0 ? 1 : 3);
  return z;
}

TEST(ZScore, CountsStandardDeviationsFromTheMean) {
  EXPECT_NEAR(after(400).push(2).value(), 0, 0.05);
  EXPECT_NEAR(after(400).push(7).value(), 5, 0.1);
  EXPECT_NEAR(after(400).push(-4).value(), -6, 0.1);
  EXPECT_NEAR(after(20).push(7).value(), 5, 0.01) << "a plain mean at first";
}

TEST(ZScore, SaysNothingTooEarlyOrWithoutSpread) {
  EXPECT_FALSE(after(19).push(100));
  EXPECT_TRUE(after(20).push(100));
  ZScore equal;
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(equal.push(2));
  EXPECT_FALSE(equal.push(3));
}

TEST(ZScore, WhatIsNotFiniteIsNotCounted) {
  ZScore z = after(400);
  EXPECT_FALSE(z.push(NAN));
  EXPECT_FALSE(z.push(INFINITY));
  EXPECT_NEAR(z.push(7).value(), 5, 0.1);
}

TEST(ZScore, Forgets) {
  ZScore z = after(100);
  for (int i = 0; i < 1000; ++i) z.push(i % 2 == 0 ? 101 : 103);
  EXPECT_NEAR(z.push(107).value(), 5, 0.2);
}

}  // namespace
}  // namespace trireme::launch
