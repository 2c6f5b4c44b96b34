#include "runtime/ops/cpu/logit_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kLanes = 16, kBlock = 512;  // kBlock: logits whose largest is found again by its value

/// exp(x) for x <= 0; 0 below -700. x = n ln 2 + r, and Taylor's polynomial in r, whose next term is below
/// 2^-53 for |r| <= ln(2) / 2.
TRIREME_INLINE double exp_of_negative(double x) {
  constexpr double kShift = 0x1.8p52;  // adding it leaves the nearest whole number in the lowest bits
  const double bounded = x < -700.0 ? -700.0 : x;
  const double shifted = bounded * 1.4426950408889634 + kShift;
  const double n = shifted - kShift;
  const double r = (bounded - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const auto exponent = static_cast<uint64_t>(std::bit_cast<int64_t>(shifted) + 1023) << 52;
  const double power = p * std::bit_cast<double>(exponent);
  return x < -700.0 ? 0.0 : power;
}

/// The largest of a block; `bad` is not 0 afterwards where one is NaN or +infinity.
TRIREME_VECTORIZED float block_largest(const float* x, int64_t n, int32_t& bad) {
  float most[kLanes];
  int32_t flags[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    most[l] = -std::numeric_limits<float>::infinity();
    flags[l] = 0;
  }
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const float v = x[i + l];
      most[l] = v > most[l] ? v : most[l];
      flags[l] |= v < std::numeric_limits<float>::infinity() ? 0 : 1;
    }
  }
  for (int64_t i = whole; i < n; ++i) {
    most[0] = x[i] > most[0] ? x[i] : most[0];
    flags[0] |= x[i] < std::numeric_limits<float>::infinity() ? 0 : 1;
  }
  for (int64_t l = 1; l < kLanes; ++l) {
    most[0] = most[l] > most[0] ? most[l] : most[0];
    flags[0] |= flags[l];
  }
  bad |= flags[0];
  return most[0];
}

TRIREME_VECTORIZED double exp_sum(const float* x, int64_t n, double largest, double factor) {
  double sums[kLanes] = {};
  const int64_t whole = n - n % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l)
      sums[l] += exp_of_negative((static_cast<double>(x[i + l]) - largest) * factor);
  }
  for (int64_t i = whole; i < n; ++i)
    sums[i - whole] += exp_of_negative((static_cast<double>(x[i]) - largest) * factor);
  double sum = 0;
  for (int64_t l = 0; l < kLanes; ++l) sum += sums[l];
  return sum;
}

TRIREME_VECTORIZED void exp_row(const float* x, int64_t n, double largest, double factor, double* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_of_negative((static_cast<double>(x[i]) - largest) * factor);
}

}  // namespace

LargestLogit largest_logit(std::span<const float> logits) {
  LargestLogit found{0, -std::numeric_limits<float>::infinity(), true};
  int64_t block = 0;
  int32_t bad = 0;
  const int64_t n = std::ssize(logits);
  for (int64_t i = 0; i < n; i += kBlock) {
    const float most = block_largest(logits.data() + i, std::min(kBlock, n - i), bad);
    if (most > found.value) found.value = most, block = i;
  }
  found.is_sound = bad == 0 && std::isfinite(found.value);
  if (found.is_sound) {
    const float* const first = logits.data() + block;
    found.index = block + (std::find(first, logits.data() + n, found.value) - first);
  }
  return found;
}

double sum_of_exps(std::span<const float> logits, float largest, double factor) {
  return exp_sum(logits.data(), std::ssize(logits), largest, factor);
}

void exps_of(std::span<const float> logits, float largest, double factor, std::span<double> weights) {
  exp_row(logits.data(), std::ssize(logits), largest, factor, weights.data());
}

}  // namespace trireme::ops::cpu
