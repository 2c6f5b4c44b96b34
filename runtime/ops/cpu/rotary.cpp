#include "runtime/ops/rotary.h"

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Turns the pairs (i, i + half) of every head in a row by the angles of (cosine, sign * sine).
template <class T>
TRIREME_INLINE void rotate_loop(T* row, int64_t num_heads, int64_t half, const float* cosine,
                                const float* sine, float sign) {
  for (int64_t h = 0; h < num_heads; ++h) {
    T *low = row + 2 * h * half, *high = low + half;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = low[i], b = high[i], c = cosine[i], s = sign * sine[i];
      store(low + i, a * c - b * s);
      store(high + i, a * s + b * c);
    }
  }
}

#define TRIREME_DEFINE_KERNEL(T)                                                                   \
  TRIREME_VECTORIZED void rotate_row(T* row, int64_t num_heads, int64_t half, const float* cosine, \
                                     const float* sine, float sign) {                              \
    rotate_loop(row, num_heads, half, cosine, sine, sign);                                         \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNEL)

}  // namespace

void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse) {
  expect_indices("rotary", "positions", positions, table.dim(0));
  const auto* position = positions.data<int32_t>();
  const auto* angles = table.data<float>();
  const int64_t half = head_dim / 2;
  const float sign = inverse ? -1.0f : 1.0f;
  with_compute_type(heads.matrix.dtype(), [&]<class T>(T) {
    T* first = heads.matrix.data<T>() + heads.begin;
    parallel_for(ctx.num_threads(), heads.rows(), row_grain(heads.count), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* cosine = angles + position[n] * head_dim;
        rotate_row(first + n * heads.stride(), heads.count / head_dim, half, cosine, cosine + half, sign);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
