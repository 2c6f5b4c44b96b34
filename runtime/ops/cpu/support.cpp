#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

void expect_indices(const char* op, const char* argument, const Tensor& indices, int64_t limit) {
  const auto* index = indices.data<int32_t>();
  for (int64_t n = 0; n < indices.numel(); ++n) {
    TRIREME_CHECK(index[n] >= 0 && index[n] < limit, "{}: {}[{}] is {}, the table has {} rows", op, argument,
                  n, index[n], limit);
  }
}

namespace {

template <class T>
TRIREME_INLINE void scale_loop(T* t, float factor, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(t + i, static_cast<float>(t[i]) * factor);
}

template <class T>
TRIREME_INLINE void add_loop(const T* a, const T* b, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(y + i, static_cast<float>(a[i]) + static_cast<float>(b[i]));
}

template <class T>
TRIREME_INLINE void accumulate_loop(const T* x, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += static_cast<float>(x[i]);
}

template <class From, class To>
TRIREME_INLINE void convert_loop(const From* from, To* to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(to + i, static_cast<float>(from[i]));
}

template <class T>
TRIREME_INLINE double sum_loop(const T* t, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(static_cast<float>(t[i]));
  return sum;
}

template <class T>
TRIREME_INLINE double sum_of_squares_loop(const T* t, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<double>(static_cast<float>(t[i]));
    sum += value * value;
  }
  return sum;
}

}  // namespace

#define TRIREME_DEFINE_RANGES(T)                                                                          \
  TRIREME_VECTORIZED void scale_range(T* t, float factor, int64_t n) { scale_loop(t, factor, n); }        \
  TRIREME_VECTORIZED void add_range(const T* a, const T* b, T* y, int64_t n) { add_loop(a, b, y, n); }    \
  TRIREME_VECTORIZED void accumulate_range(const T* x, float* y, int64_t n) { accumulate_loop(x, y, n); } \
  TRIREME_VECTORIZED double sum_range(const T* t, int64_t n) { return sum_loop(t, n); }                   \
  TRIREME_VECTORIZED double sum_of_squares_range(const T* t, int64_t n) { return sum_of_squares_loop(t, n); }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_RANGES)

// fp32 to fp16 and back: fp16_conversion.cpp.
#define TRIREME_DEFINE_CONVERSION(From, To) \
  TRIREME_VECTORIZED void convert_range(const From* from, To* to, int64_t n) { convert_loop(from, to, n); }
TRIREME_DEFINE_CONVERSION(float, float)
TRIREME_DEFINE_CONVERSION(float, bf16)
TRIREME_DEFINE_CONVERSION(bf16, float)
TRIREME_DEFINE_CONVERSION(bf16, bf16)
TRIREME_DEFINE_CONVERSION(bf16, fp16)
TRIREME_DEFINE_CONVERSION(fp16, bf16)
TRIREME_DEFINE_CONVERSION(fp16, fp16)

}  // namespace trireme::ops::cpu
