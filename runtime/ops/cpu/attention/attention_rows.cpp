#include "runtime/ops/cpu/attention/attention_rows.h"

#include <algorithm>
#include <limits>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu::attention_rows {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TRIREME_INLINE int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

TRIREME_INLINE float sum_of(const float (&lanes)[kLanes]) {
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

TRIREME_INLINE float max_of(const float* x, int64_t n) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -kInfinity);
  for (int64_t i = 0; i < n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  return *std::max_element(lanes, lanes + kLanes);
}

}  // namespace

TRIREME_VECTORIZED float exponentials(float* scores, int64_t begin, int64_t n, float& max) {
  const int64_t end = padded(n);
  std::fill_n(scores, begin, -kInfinity);
  std::fill(scores + n, scores + end, -kInfinity);
  const float top = max_of(scores, end);
  float sums[kLanes] = {};
  for (int64_t i = 0; i < end; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float e = fast_exp(scores[i + j] - top);
      scores[i + j] = e;
      sums[j] += e;
    }
  }
  max = top;
  return sum_of(sums);
}

TRIREME_VECTORIZED void score_gradient(float* __restrict p, float* __restrict gradient, int64_t n,
                                       int64_t width, float lse, float delta, float scale) {
  const int64_t end = padded(n);
  for (int64_t i = n; i < end; ++i) p[i] = gradient[i] = 0.0f;
  for (int64_t i = 0; i < end; ++i) {
    p[i] = fast_exp(p[i] - lse);
    gradient[i] = p[i] * (gradient[i] - delta) * scale;
  }
  for (int64_t i = n; i < std::max(width, end); ++i) p[i] = gradient[i] = 0.0f;
}

// In whole vectors: between a loop's vector part and its rest roundings may differ.
TRIREME_VECTORIZED void soft_cap(float* scores, int64_t n, float cap) {
  const float inverse = 1.0f / cap;
  for (int64_t i = 0; i < n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) scores[i + j] = cap * fast_tanh(scores[i + j] * inverse);
  }
}

TRIREME_VECTORIZED void capped_score_gradient(float* __restrict p, float* __restrict gradient, int64_t n,
                                              int64_t width, float lse, float delta, float scale, float cap) {
  const int64_t end = padded(n);
  const float inverse = 1.0f / cap;
  for (int64_t i = n; i < end; ++i) p[i] = gradient[i] = 0.0f;
  for (int64_t i = 0; i < end; ++i) {
    const float t = fast_tanh(p[i] * inverse);
    p[i] = fast_exp(cap * t - lse);
    gradient[i] = p[i] * (gradient[i] - delta) * (1.0f - t * t) * scale;
  }
  for (int64_t i = n; i < std::max(width, end); ++i) p[i] = gradient[i] = 0.0f;
}

TRIREME_VECTORIZED void hide(float* row, const uint16_t* masks, int64_t groups, float value) {
  for (int64_t g = 0; g < groups; ++g, row += kLanes) {
    const uint32_t mask = masks[g];
    if (mask == 0xffff) continue;
    for (int64_t j = 0; j < kLanes; ++j) row[j] = (mask >> j & 1) != 0 ? row[j] : value;
  }
}

TRIREME_VECTORIZED float dot(const float* a, const float* b, int64_t n) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  }
  float sum = sum_of(sums);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

TRIREME_VECTORIZED void add(float* __restrict row, const float* __restrict others, int64_t n) {
  for (int64_t i = 0; i < n; ++i) row[i] += others[i];
}

TRIREME_VECTORIZED void multiply(float* row, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) row[i] *= factor;
}

TRIREME_VECTORIZED void multiply_by(float* __restrict row, const float* __restrict factors, int64_t n) {
  for (int64_t i = 0; i < n; ++i) row[i] *= factors[i];
}

}  // namespace trireme::ops::cpu::attention_rows
