#include "runtime/ops/permute.h"

#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

template <class T>
TRIREME_INLINE void add_scaled_loop(const T* x, float factor, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += factor * static_cast<float>(x[i]);
}

template <class T>
TRIREME_INLINE void scaled_copy_loop(const T* x, float factor, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(y + i, factor * static_cast<float>(x[i]));
}

template <class T>
TRIREME_INLINE float dot_loop(const T* a, const T* b, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    sum += static_cast<double>(static_cast<float>(a[i])) * static_cast<double>(static_cast<float>(b[i]));
  }
  return static_cast<float>(sum);
}

#define TRIREME_DEFINE_ROWS(T)                                                        \
  TRIREME_VECTORIZED void add_scaled(const T* x, float factor, float* y, int64_t n) { \
    add_scaled_loop(x, factor, y, n);                                                 \
  }                                                                                   \
  TRIREME_VECTORIZED void scaled_copy(const T* x, float factor, T* y, int64_t n) {    \
    scaled_copy_loop(x, factor, y, n);                                                \
  }                                                                                   \
  TRIREME_VECTORIZED float dot(const T* a, const T* b, int64_t n) { return dot_loop(a, b, n); }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_ROWS)

// Zeroes the rows that no slot names, if there are any.
template <class T>
void clear_unnamed(const Tensor& slots, T* rows, int64_t num_rows, int64_t width) {
  std::vector<bool> named(static_cast<size_t>(num_rows), false);
  int64_t num_named = 0;
  for (int64_t i = 0; i < slots.numel(); ++i) {
    const int32_t slot = slots.data<int32_t>()[i];
    if (slot < 0) continue;
    TRIREME_CHECK(slot < num_rows && !named[static_cast<size_t>(slot)], "slot {} of {} rows", slot, num_rows);
    named[static_cast<size_t>(slot)] = true;
    ++num_named;
  }
  if (num_named == num_rows) return;
  for (int64_t r = 0; r < num_rows; ++r) {
    if (!named[static_cast<size_t>(r)]) std::fill_n(rows + r * width, width, T{});
  }
}

}  // namespace

void permute_rows(Context& ctx, const Tensor& x, const Tensor& slots, const Tensor& out) {
  const int64_t width = x.dim(1), k = slots.dim(1);
  const auto* slot = slots.data<int32_t>();
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = out.data<T>();
    clear_unnamed(slots, to, out.dim(0), width);
    parallel_for(ctx.num_threads(), x.dim(0), row_grain(width * k), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * k; i < end * k; ++i) {
        if (slot[i] >= 0) std::copy_n(from + i / k * width, width, to + slot[i] * width);
      }
    });
  });
}

void combine_rows(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                  const Tensor& out) {
  const int64_t width = out.dim(1), k = slots.dim(1);
  const auto* slot = slots.data<int32_t>();
  const auto* gate = data_or_null<float>(gates);
  with_compute_type(out.dtype(), [&]<class T>(T) {
    const T* from = y.data<T>();
    T* to = out.data<T>();
    parallel_for(ctx.num_threads(), out.dim(0), row_grain(width * k), [&](int64_t begin, int64_t end) {
      std::vector<float> sum(static_cast<size_t>(width));
      for (int64_t n = begin; n < end; ++n) {
        std::ranges::fill(sum, 0.0f);
        for (int64_t i = n * k; i < (n + 1) * k; ++i) {
          const float factor = gate != nullptr ? gate[i] : 1.0f;
          if (slot[i] >= 0) add_scaled(from + slot[i] * width, factor, sum.data(), width);
        }
        convert_range(sum.data(), to + n * width, width);
      }
    });
  });
}

void combine_rows_backward(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                           const Tensor& dout, const Tensor& dy, const Tensor& dgates) {
  const int64_t width = dout.dim(1), k = slots.dim(1);
  const auto* slot = slots.data<int32_t>();
  const auto* gate = gates.data<float>();
  auto* dgate = dgates.data<float>();
  with_compute_type(dout.dtype(), [&]<class T>(T) {
    const T *rows = y.data<T>(), *from = dout.data<T>();
    T* to = dy.data<T>();
    clear_unnamed(slots, to, dy.dim(0), width);
    parallel_for(ctx.num_threads(), dout.dim(0), row_grain(width * k), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * k; i < end * k; ++i) {
        dgate[i] = 0;
        if (slot[i] < 0) continue;
        const T* gradient = from + i / k * width;
        dgate[i] = dot(rows + slot[i] * width, gradient, width);
        scaled_copy(gradient, gate[i], to + slot[i] * width, width);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
