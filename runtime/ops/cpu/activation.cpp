#include "runtime/ops/activation.h"

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// 0.5 (1 + tanh(u)) = sigmoid(2 u): one form for both tails, without the cancellation of 1 + tanh.
constexpr float kTwoSqrt2OverPi = 1.5957691216f;
constexpr float kCubic = 0.044715f;
constexpr float kInverseSqrt2Pi = 0.3989422804f;

template <class T>
TRIREME_INLINE void gelu_loop(const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    store(y + i, v * fast_sigmoid(kTwoSqrt2OverPi * (v + kCubic * v * v * v)));
  }
}

template <class T>
TRIREME_INLINE void gelu_backward_loop(const T* x, const T* dy, T* dx, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    const float s = fast_sigmoid(kTwoSqrt2OverPi * (v + kCubic * v * v * v));
    const float slope = kTwoSqrt2OverPi * (1.0f + 3.0f * kCubic * v * v);
    store(dx + i, static_cast<float>(dy[i]) * (s + v * s * (1.0f - s) * slope));
  }
}

template <class T>
TRIREME_INLINE void gelu_erf_loop(const T* x, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    store(y + i, v * fast_normal(v).below);
  }
}

template <class T>
TRIREME_INLINE void gelu_erf_backward_loop(const T* x, const T* dy, T* dx, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    const Normal normal = fast_normal(v);
    store(dx + i, static_cast<float>(dy[i]) * (normal.below + v * (kInverseSqrt2Pi * normal.bell)));
  }
}

TRIREME_INLINE float gelu_gate(float v) { return fast_sigmoid(kTwoSqrt2OverPi * (v + kCubic * v * v * v)); }

template <class T>
TRIREME_INLINE void geglu_loop(const T* gate, const T* up, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i];
    store(y + i, g * gelu_gate(g) * static_cast<float>(up[i]));
  }
}

template <class T>
TRIREME_INLINE void geglu_backward_loop(const T* gate, const T* up, const T* dy, T* dgate, T* dup,
                                        int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i], u = up[i], d = dy[i];
    const float s = gelu_gate(g), slope = kTwoSqrt2OverPi * (1.0f + 3.0f * kCubic * g * g);
    store(dgate + i, d * u * (s + g * s * (1.0f - s) * slope));
    store(dup + i, d * g * s);
  }
}

template <class T>
TRIREME_INLINE void swiglu_loop(const T* gate, const T* up, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i];
    store(y + i, g * fast_sigmoid(g) * static_cast<float>(up[i]));
  }
}

template <class T>
TRIREME_INLINE void swiglu_backward_loop(const T* gate, const T* up, const T* dy, T* dgate, T* dup,
                                         int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i], u = up[i], d = dy[i];
    const float s = fast_sigmoid(g);
    store(dgate + i, d * u * s * (1.0f + g * (1.0f - s)));
    store(dup + i, d * g * s);
  }
}

#define TRIREME_DEFINE_KERNELS(T)                                                                        \
  TRIREME_VECTORIZED void gelu_range(const T* x, T* y, int64_t n) { gelu_loop(x, y, n); }                \
  TRIREME_VECTORIZED void gelu_backward_range(const T* x, const T* dy, T* dx, int64_t n) {               \
    gelu_backward_loop(x, dy, dx, n);                                                                    \
  }                                                                                                      \
  TRIREME_VECTORIZED void gelu_erf_range(const T* x, T* y, int64_t n) { gelu_erf_loop(x, y, n); }        \
  TRIREME_VECTORIZED void gelu_erf_backward_range(const T* x, const T* dy, T* dx, int64_t n) {           \
    gelu_erf_backward_loop(x, dy, dx, n);                                                                \
  }                                                                                                      \
  TRIREME_VECTORIZED void swiglu_row(const T* gate, const T* up, T* y, int64_t n) {                      \
    swiglu_loop(gate, up, y, n);                                                                         \
  }                                                                                                      \
  TRIREME_VECTORIZED void swiglu_backward_row(const T* gate, const T* up, const T* dy, T* dgate, T* dup, \
                                              int64_t n) {                                               \
    swiglu_backward_loop(gate, up, dy, dgate, dup, n);                                                   \
  }                                                                                                      \
  TRIREME_VECTORIZED void geglu_row(const T* gate, const T* up, T* y, int64_t n) {                       \
    geglu_loop(gate, up, y, n);                                                                          \
  }                                                                                                      \
  TRIREME_VECTORIZED void geglu_backward_row(const T* gate, const T* up, const T* dy, T* dgate, T* dup,  \
                                             int64_t n) {                                                \
    geglu_backward_loop(gate, up, dy, dgate, dup, n);                                                    \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNELS)

/// range(x, y, n) for ranges that cover the elements.
template <class Range>
void for_ranges(Context& ctx, const Tensor& x, const Tensor& y, const Range& range) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_elements(ctx, x.numel(),
                      [&](int64_t begin, int64_t end) { range(in + begin, out + begin, end - begin); });
  });
}

/// range(x, dy, dx, n), as above.
template <class Range>
void for_ranges_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx,
                         const Range& range) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T *in = x.data<T>(), *dout = dy.data<T>();
    T* din = dx.data<T>();
    parallel_elements(ctx, x.numel(), [&](int64_t begin, int64_t end) {
      range(in + begin, dout + begin, din + begin, end - begin);
    });
  });
}

/// row(gate, up, y, width) for each row of gate_up.
template <class Row>
void for_gated_rows(Context& ctx, const Tensor& gate_up, const Tensor& y, const Row& row) {
  const int64_t width = y.dim(1);
  with_compute_type(y.dtype(), [&]<class T>(T) {
    const T* in = gate_up.data<T>();
    T* out = y.data<T>();
    parallel_for(ctx.num_threads(), y.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T* gate = in + 2 * n * width;
        row(gate, gate + width, out + n * width, width);
      }
    });
  });
}

/// row(gate, up, dy, dgate, dup, width), as above.
template <class Row>
void for_gated_rows_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up,
                             const Row& row) {
  const int64_t width = dy.dim(1);
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    const T *in = gate_up.data<T>(), *dout = dy.data<T>();
    T* din = dgate_up.data<T>();
    parallel_for(ctx.num_threads(), dy.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const T* gate = in + 2 * n * width;
        T* dgate = din + 2 * n * width;
        row(gate, gate + width, dout + n * width, dgate, dgate + width, width);
      }
    });
  });
}

}  // namespace

void gelu(Context& ctx, const Tensor& x, const Tensor& y) {
  for_ranges(ctx, x, y, [](auto in, auto out, int64_t n) { gelu_range(in, out, n); });
}

void gelu_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  for_ranges_backward(ctx, x, dy, dx,
                      [](auto in, auto dout, auto din, int64_t n) { gelu_backward_range(in, dout, din, n); });
}

void gelu_erf(Context& ctx, const Tensor& x, const Tensor& y) {
  for_ranges(ctx, x, y, [](auto in, auto out, int64_t n) { gelu_erf_range(in, out, n); });
}

void gelu_erf_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  for_ranges_backward(ctx, x, dy, dx, [](auto in, auto dout, auto din, int64_t n) {
    gelu_erf_backward_range(in, dout, din, n);
  });
}

void swiglu(Context& ctx, const Tensor& gate_up, const Tensor& y) {
  for_gated_rows(ctx, gate_up, y,
                 [](auto gate, auto up, auto out, int64_t width) { swiglu_row(gate, up, out, width); });
}

void swiglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  for_gated_rows_backward(ctx, gate_up, dy, dgate_up,
                          [](auto gate, auto up, auto dout, auto dgate, auto dup, int64_t width) {
                            swiglu_backward_row(gate, up, dout, dgate, dup, width);
                          });
}

void geglu(Context& ctx, const Tensor& gate_up, const Tensor& y) {
  for_gated_rows(ctx, gate_up, y,
                 [](auto gate, auto up, auto out, int64_t width) { geglu_row(gate, up, out, width); });
}

void geglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  for_gated_rows_backward(ctx, gate_up, dy, dgate_up,
                          [](auto gate, auto up, auto dout, auto dgate, auto dup, int64_t width) {
                            geglu_backward_row(gate, up, dout, dgate, dup, width);
                          });
}

}  // namespace trireme::ops::cpu
