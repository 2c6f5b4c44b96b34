#include "runtime/ops/gemm/float8.h"

#include <vector>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cpu {

namespace {

// Pieces of this many elements are widened into the first-level cache.
constexpr int64_t kPiece = 1024;

/// The largest magnitude of the finite values.
TRIREME_VECTORIZED float largest_finite(const float* x, int64_t n) {
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
    largest = std::max(largest, magnitude >= 0x7f800000u ? 0u : magnitude);
  }
  return std::bit_cast<float>(largest);
}

template <class T>
TRIREME_INLINE void quantize_loop(const float* x, float factor, T* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const bool finite = (std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu) < 0x7f800000u;
    const uint8_t code = T::encode(x[i] * factor);
    out[i].bits = finite ? code : T::kNaNCode;
  }
}

template <class T>
TRIREME_INLINE void widen_loop(const T* x, float scale, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]) * scale;
}

#define TRIREME_DEFINE_RANGES(T)                                                            \
  TRIREME_VECTORIZED void quantize_range(const float* x, float factor, T* out, int64_t n) { \
    quantize_loop(x, factor, out, n);                                                       \
  }                                                                                         \
  TRIREME_VECTORIZED void widen_range(const T* x, float scale, float* y, int64_t n) {       \
    widen_loop(x, scale, y, n);                                                             \
  }
TRIREME_DEFINE_RANGES(fp8_e4m3)
TRIREME_DEFINE_RANGES(fp8_e5m2)

template <class Body>
void with_float8(DType dtype, Body&& body) {
  return dtype == DType::f8e4m3 ? body(fp8_e4m3{}) : body(fp8_e5m2{});
}

/// Calls body(floats, first element, n) for pieces of a tensor of a compute type.
template <class T, class Body>
void for_each_piece(const T* x, int64_t begin, int64_t end, Body&& body) {
  float wide[kPiece];
  for (int64_t i = begin; i < end; i += kPiece) {
    const int64_t n = std::min(kPiece, end - i);
    convert_range(x + i, wide, n);
    body(wide, i, n);
  }
}

template <class T>
float largest_of(Context& ctx, const Tensor& x) {
  const T* values = x.data<T>();
  std::vector<float> largest(static_cast<size_t>((x.numel() + kPiece - 1) / kPiece));
  parallel_elements(ctx, x.numel(), [&](int64_t begin, int64_t end) {
    for_each_piece(values, begin, end, [&](const float* wide, int64_t at, int64_t n) {
      largest[static_cast<size_t>(at / kPiece)] = largest_finite(wide, n);
    });
  });
  return largest.empty() ? 0 : *std::ranges::max_element(largest);
}

/// The smallest power of two s, no subnormal, with largest / s <= limit.
float scale_for(float largest, float limit) {
  if (largest == 0) return 1;
  int exponent = 0, limit_exponent = 0;
  const float mantissa = std::frexp(largest, &exponent), limit_mantissa = std::frexp(limit, &limit_exponent);
  const int power = exponent - limit_exponent + (mantissa > limit_mantissa ? 1 : 0);
  return std::ldexp(1.0f, std::max(power, -126));
}

}  // namespace

void quantize(Context& ctx, const Tensor& x, const ScaledTensor& out) {
  with_compute_type(x.dtype(), [&]<class In>(In) {
    with_float8(out.values.dtype(), [&]<class Out>(Out) {
      Out limit;
      limit.bits = Out::kMaxCode;
      const float scale = scale_for(largest_of<In>(ctx, x), limit);
      out.scale.data<float>()[0] = scale;
      const In* in = x.data<In>();
      Out* codes = out.values.data<Out>();
      parallel_elements(ctx, x.numel(), [&](int64_t begin, int64_t end) {
        for_each_piece(in, begin, end, [&](const float* wide, int64_t at, int64_t n) {
          quantize_range(wide, 1 / scale, codes + at, n);
        });
      });
    });
  });
}

void dequantize(Context& ctx, const ScaledTensor& x, const Tensor& y) {
  const float scale = x.scale.data<float>()[0];
  with_float8(x.values.dtype(), [&]<class In>(In) {
    with_compute_type(y.dtype(), [&]<class Out>(Out) {
      const In* codes = x.values.data<In>();
      Out* out = y.data<Out>();
      parallel_elements(ctx, y.numel(), [&](int64_t begin, int64_t end) {
        float wide[kPiece];
        for (int64_t i = begin; i < end; i += kPiece) {
          const int64_t n = std::min(kPiece, end - i);
          widen_range(codes + i, scale, wide, n);
          convert_range(wide, out + i, n);
        }
      });
    });
  });
}

void gemm_float8(Context& ctx, const GemmOptions& options, const ScaledTensor& a, const ScaledTensor& b,
                 const Tensor& bias, const Tensor& c) {
  const auto widened = [&](const ScaledTensor& t) {
    const Tensor wide = Tensor::empty(ctx, t.values.shape(), DType::bf16, MemoryCategory::buffers);
    cpu::dequantize(ctx, t, wide);
    return wide;
  };
  const Tensor wide_a = widened(a), wide_b = widened(b);
  if (c.dtype() != DType::f16) return cpu::gemm(ctx, options, wide_a, wide_b, bias, c);
  const Tensor sum = Tensor::empty(ctx, c.shape(), DType::f32, MemoryCategory::buffers);
  if (options.accumulate) cpu::copy(ctx, c, sum);
  cpu::gemm(ctx, options, wide_a, wide_b, bias, sum);
  cpu::copy(ctx, sum, c);
}

}  // namespace trireme::ops::cpu
