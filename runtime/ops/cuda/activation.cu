#include "runtime/ops/activation.h"

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

// 0.5 (1 + tanh(u)) = sigmoid(2 u), as in the CPU body.
constexpr float kTwoSqrt2OverPi = 1.5957691216f;
constexpr float kCubic = 0.044715f;
constexpr float kInverseSqrt2 = 0.7071067812f, kInverseSqrt2Pi = 0.3989422804f;

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ float gelu_gate(float x) { return sigmoid(kTwoSqrt2OverPi * (x + kCubic * x * x * x)); }

/// The share of the normal distribution below x; erfc keeps the digits of its tail.
__device__ float normal_below(float x) { return 0.5f * erfcf(-kInverseSqrt2 * x); }

/// Activations of x: x times a factor s, and what the gradient of that makes of d.
struct SiluGate {
  __device__ static float factor(float x) { return sigmoid(x); }
  __device__ static float gradient(float d, float x, float s) { return d * s * (1.0f + x * (1.0f - s)); }
};
struct GeluGate {
  __device__ static float factor(float x) { return gelu_gate(x); }
  __device__ static float gradient(float d, float x, float s) {
    const float slope = kTwoSqrt2OverPi * (1.0f + 3.0f * kCubic * x * x);
    return d * (s + x * s * (1.0f - s) * slope);
  }
};
struct GeluErfGate {
  __device__ static float factor(float x) { return normal_below(x); }
  __device__ static float gradient(float d, float x, float s) {
    return d * (s + x * (kInverseSqrt2Pi * expf(-0.5f * x * x)));
  }
};

template <class T, class Gate>
struct Activated {
  const T* x;
  T* y;
  __device__ void operator()(int64_t i, int count) const {
    float v[kPack];
    load(x + i, count, v);
    for (float& value : v) value *= Gate::factor(value);
    store(y + i, count, v);
  }
};

template <class T, class Gate>
struct ActivatedBackward {
  const T *x, *dy;
  T* dx;
  __device__ void operator()(int64_t i, int count) const {
    float v[kPack], d[kPack];
    load(x + i, count, v);
    load(dy + i, count, d);
    for (int j = 0; j < kPack; ++j) d[j] = Gate::gradient(d[j], v[j], Gate::factor(v[j]));
    store(dx + i, count, d);
  }
};

template <class T, class Gate>
struct Gated {
  const T* gate_up;
  T* y;
  int64_t width;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    const T* gate = gate_up + 2 * row * width + column;
    float g[kPack], u[kPack];
    load(gate, count, g);
    load(gate + width, count, u);
    for (int j = 0; j < kPack; ++j) u[j] *= g[j] * Gate::factor(g[j]);
    store(y + row * width + column, count, u);
  }
};

template <class T, class Gate>
struct GatedBackward {
  const T *gate_up, *dy;
  T* dgate_up;
  int64_t width;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    const int64_t at = 2 * row * width + column;
    float g[kPack], u[kPack], d[kPack];
    load(gate_up + at, count, g);
    load(gate_up + at + width, count, u);
    load(dy + row * width + column, count, d);
    for (int j = 0; j < kPack; ++j) {
      const float s = Gate::factor(g[j]), dgate = Gate::gradient(d[j] * u[j], g[j], s);
      u[j] = d[j] * g[j] * s;
      g[j] = dgate;
    }
    store(dgate_up + at, count, g);
    store(dgate_up + at + width, count, u);
  }
};

template <class Gate>
void activated(Context& ctx, const Tensor& x, const Tensor& y) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_elementwise(ctx, x.numel(), Activated<T, Gate>{x.data<T>(), y.data<T>()});
  });
}

template <class Gate>
void activated_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_elementwise(ctx, x.numel(), ActivatedBackward<T, Gate>{x.data<T>(), dy.data<T>(), dx.data<T>()});
  });
}

template <class Gate>
void gated(Context& ctx, const Tensor& gate_up, const Tensor& y) {
  const int64_t width = y.dim(1);
  with_compute_type(y.dtype(), [&]<class T>(T) {
    launch_rows(ctx, y.dim(0), width, Gated<T, Gate>{gate_up.data<T>(), y.data<T>(), width});
  });
}

template <class Gate>
void gated_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  const int64_t width = dy.dim(1);
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    launch_rows(ctx, dy.dim(0), width,
                GatedBackward<T, Gate>{gate_up.data<T>(), dy.data<T>(), dgate_up.data<T>(), width});
  });
}

}  // namespace

void gelu(Context& ctx, const Tensor& x, const Tensor& y) { activated<GeluGate>(ctx, x, y); }

void gelu_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  activated_backward<GeluGate>(ctx, x, dy, dx);
}

void gelu_erf(Context& ctx, const Tensor& x, const Tensor& y) { activated<GeluErfGate>(ctx, x, y); }

void gelu_erf_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  activated_backward<GeluErfGate>(ctx, x, dy, dx);
}

void swiglu(Context& ctx, const Tensor& gate_up, const Tensor& y) { gated<SiluGate>(ctx, gate_up, y); }

void swiglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  gated_backward<SiluGate>(ctx, gate_up, dy, dgate_up);
}

void geglu(Context& ctx, const Tensor& gate_up, const Tensor& y) { gated<GeluGate>(ctx, gate_up, y); }

void geglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  gated_backward<GeluGate>(ctx, gate_up, dy, dgate_up);
}

}  // namespace trireme::ops::cuda
