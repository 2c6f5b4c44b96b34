#include "runtime/ops/attention/rotary.h"

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Turns the pairs (i, i + half) of a head by the angles of (cosine, sign * sine). One head a call: inside a
/// loop over the heads the compiler gives up on fp16.
template <class T>
TRIREME_INLINE void rotate_loop(T* head, int64_t half, const float* cosine, const float* sine, float sign) {
  T *low = head, *high = head + half;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = low[i], b = high[i], c = cosine[i], s = sign * sine[i];
    store(low + i, a * c - b * s);
    store(high + i, a * s + b * c);
  }
}

#define TRIREME_DEFINE_KERNEL(T)                                                                     \
  TRIREME_VECTORIZED void rotate_head(T* head, int64_t half, const float* cosine, const float* sine, \
                                      float sign) {                                                  \
    rotate_loop(head, half, cosine, sine, sign);                                                     \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNEL)

}  // namespace

void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse) {
  expect_indices("rotary", "positions", positions, table.dim(0));
  const auto* position = positions.data<int32_t>();
  const auto* angles = table.data<float>();
  const int64_t rotated = table.dim(1), half = rotated / 2;
  const float sign = inverse ? -1.0f : 1.0f;
  with_compute_type(heads.matrix.dtype(), [&]<class T>(T) {
    T* first = heads.matrix.data<T>() + heads.begin;
    parallel_for(ctx.num_threads(), heads.rows(), row_grain(heads.count), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* cosine = angles + position[n] * rotated;
        T* row = first + n * heads.stride();
        for (int64_t c = 0; c < heads.count; c += head_dim) {
          rotate_head(row + c, half, cosine, cosine + half, sign);
        }
      }
    });
  });
}

}  // namespace trireme::ops::cpu
