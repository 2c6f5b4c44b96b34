#include "runtime/ops/adamw.h"

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

template <class T>
struct AdamW {
  const float* gradient;
  float *w, *m, *v;
  T* copy;  // may be null
  float lr, beta1, rest1, beta2, rest2, correction1, correction2, eps, weight_decay, gradient_scale;

  AdamW(const AdamWOptions& o, const Tensor& g, const Tensor& weights, const Tensor& mean,
        const Tensor& square, const Tensor& rounded)
      : gradient(g.data<float>()),
        w(weights.data<float>()),
        m(mean.data<float>()),
        v(square.data<float>()),
        copy(data_or_null<T>(rounded)),
        lr(o.lr),
        beta1(o.beta1),
        rest1(1.0f - o.beta1),
        beta2(o.beta2),
        rest2(1.0f - o.beta2),
        correction1(static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta1}, static_cast<double>(o.step))))),
        correction2(static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta2}, static_cast<double>(o.step))))),
        eps(o.eps),
        weight_decay(o.weight_decay),
        gradient_scale(o.gradient_scale) {}

  __device__ void operator()(int64_t i, int count) const {
    float g[kPack], weight[kPack], mean[kPack], square[kPack];
    load(gradient + i, count, g);
    load(w + i, count, weight);
    load(m + i, count, mean);
    load(v + i, count, square);
    for (int j = 0; j < kPack; ++j) {
      const float scaled = g[j] * gradient_scale;
      mean[j] = beta1 * mean[j] + rest1 * scaled;
      square[j] = beta2 * square[j] + rest2 * scaled * scaled;
      weight[j] -=
          lr * (mean[j] * correction1 / (sqrtf(square[j] * correction2) + eps) + weight_decay * weight[j]);
    }
    store(w + i, count, weight);
    store(m + i, count, mean);
    store(v + i, count, square);
    if (copy != nullptr) store(copy + i, count, weight);
  }
};

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class T>(T) {
    launch_elementwise(ctx, w.numel(), AdamW<T>(options, gradient, w, m, v, copy));
  });
}

}  // namespace trireme::ops::cuda
