#include "runtime/ops/attention/attention_merge.h"

#include <cmath>
#include <limits>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

template <class T>
TRIREME_INLINE void merge_loop(float* out, const T* part, int64_t n, float keep, float weight) {
  for (int64_t i = 0; i < n; ++i) out[i] = out[i] * keep + static_cast<float>(part[i]) * weight;
}

#define TRIREME_DEFINE_KERNEL(T)                                                                      \
  TRIREME_VECTORIZED void merge_row(float* out, const T* part, int64_t n, float keep, float weight) { \
    merge_loop(out, part, n, keep, weight);                                                           \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNEL)

}  // namespace

void merge_attention(Context& ctx, const Tensor& part, const Tensor& part_lse, int64_t first,
                     const Tensor& out, const Tensor& lse) {
  const int64_t heads = lse.dim(1), len = lse.dim(2), n = part_lse.dim(2), width = out.dim(1);
  const int64_t head_dim = width / heads;
  const auto* p = part_lse.data<float>();
  auto* l = lse.data<float>();
  with_compute_type(part.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), part.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / n, i = row % n;
        const T* from = part.data<T>() + row * width;
        float* to = out.data<float>() + (b * len + first + i) * width;
        for (int64_t h = 0; h < heads; ++h) {
          float& whole = l[(b * heads + h) * len + first + i];
          const float before = whole, added = p[(b * heads + h) * n + i];
          const float top = std::max(before, added);
          if (top == -std::numeric_limits<float>::infinity()) continue;
          whole = top + std::log(std::exp(before - top) + std::exp(added - top));
          merge_row(to + h * head_dim, from + h * head_dim, head_dim, std::exp(before - whole),
                    std::exp(added - whole));
        }
      }
    });
  });
}

}  // namespace trireme::ops::cpu
