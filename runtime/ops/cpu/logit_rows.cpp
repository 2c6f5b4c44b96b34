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

/// Floats in the order of whole numbers, both ways: the compiler makes vectors of such a maximum.
TRIREME_INLINE int32_t key_of(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

TRIREME_INLINE float largest_of(const float* x, int64_t n) {
  int32_t most = std::numeric_limits<int32_t>::min();
  for (int64_t i = 0; i < n; ++i) {
    const int32_t key = key_of(std::bit_cast<int32_t>(x[i]));
    most = key > most ? key : most;
  }
  return std::bit_cast<float>(key_of(most));
}

/// The largest of a block; `bad` is not 0 afterwards where one is NaN or +infinity.
TRIREME_VECTORIZED float block_largest(const float* x, int64_t n, int32_t& bad) {
  int32_t flags = 0;
  for (int64_t i = 0; i < n; ++i) flags |= x[i] < std::numeric_limits<float>::infinity() ? 0 : 1;
  bad |= flags;
  return largest_of(x, n);
}

TRIREME_VECTORIZED void maxima_of(const float* x, int64_t num_blocks, float* maxima) {
  for (int64_t b = 0; b < num_blocks; ++b) maxima[b] = largest_of(x + b * kMaximaBlock, kMaximaBlock);
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

void block_maxima(std::span<const float> logits, std::span<float> maxima) {
  const int64_t n = std::ssize(logits), whole = n / kMaximaBlock;
  maxima_of(logits.data(), whole, maxima.data());
  if (whole * kMaximaBlock < n) {
    const auto rest = logits.subspan(static_cast<size_t>(whole * kMaximaBlock));
    maxima[static_cast<size_t>(whole)] = *std::ranges::max_element(rest);
  }
}

double sum_of_exps(std::span<const float> logits, float largest, double factor) {
  return exp_sum(logits.data(), std::ssize(logits), largest, factor);
}

void exps_of(std::span<const float> logits, float largest, double factor, std::span<double> weights) {
  exp_row(logits.data(), std::ssize(logits), largest, factor, weights.data());
}

}  // namespace trireme::ops::cpu
