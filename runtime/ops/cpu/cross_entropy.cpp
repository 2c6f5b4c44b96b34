#include "runtime/ops/cross_entropy.h"

#include <limits>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// Sums run in lanes of a fixed number, block by block, and the blocks are added in double: the same value
// with every instruction set, and no loss of digits over a large vocabulary.
constexpr int64_t kLanes = 32;
constexpr int64_t kBlock = 32 * kLanes;

template <class T>
TRIREME_INLINE float max_of(const T* x, int64_t n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float value = x[i + j];
      lanes[j] = value > lanes[j] ? value : lanes[j];
    }
  }
  float max = lanes[0];
  for (const float lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) max = x[i] > max ? static_cast<float>(x[i]) : max;
  return max;
}

template <class T>
TRIREME_INLINE double sum_of_exponents(const T* x, int64_t n, float max) {
  double total = 0;
  for (int64_t block = 0; block < n; block += kBlock) {
    const int64_t end = std::min(n, block + kBlock);
    float lanes[kLanes] = {};
    int64_t i = block;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t j = 0; j < kLanes; ++j) lanes[j] += fast_exp(x[i + j] - max);
    }
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    for (; i < end; ++i) sum += fast_exp(x[i] - max);
    total += sum;
  }
  return total;
}

// One row; returns its loss. dx may be x or null.
template <class T>
TRIREME_INLINE float row_of(const T* x, int64_t n, int32_t target, float scale, T* dx) {
  if (target == kIgnoredTarget) {
    for (int64_t i = 0; dx != nullptr && i < n; ++i) store(dx + i, 0.0f);
    return 0.0f;
  }
  const float max = max_of(x, n), at_target = x[target];
  const double sum = sum_of_exponents(x, n, max);
  if (dx != nullptr) {
    const float factor = static_cast<float>(scale / sum);
    for (int64_t i = 0; i < n; ++i) store(dx + i, factor * fast_exp(x[i] - max));
    store(dx + target, factor * fast_exp(at_target - max) - scale);
  }
  return static_cast<float>(std::log(sum) + (static_cast<double>(max) - at_target));
}

#define TRIREME_ROW(T)                                                                      \
  TRIREME_VECTORIZED float row(const T* x, int64_t n, int32_t target, float scale, T* dx) { \
    return row_of(x, n, target, scale, dx);                                                 \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_ROW)

}  // namespace

void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Tensor& dlogits) {
  const int64_t v = logits.dim(1);
  const int32_t* t = targets.data<int32_t>();
  for (int64_t r = 0; r < logits.dim(0); ++r) {
    TRIREME_CHECK(t[r] == kIgnoredTarget || (t[r] >= 0 && t[r] < v),
                  "cross_entropy: targets[{}] is {}, the logits have {} columns", r, t[r], v);
  }
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* dx = data_or_null<T>(dlogits);
    parallel_for(ctx.num_threads(), logits.dim(0), row_grain(v), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        loss.data<float>()[r] = row(x + r * v, v, t[r], gradient_scale, dx == nullptr ? nullptr : dx + r * v);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
