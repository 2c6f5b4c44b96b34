#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/training/stochastic_rounding.cuh"
#include "runtime/ops/training/adamw_constants.h"

namespace trireme::ops::cuda {

namespace {

/// Gradient and moments, and the update of a pack of weights. The fused multiply-adds are written out, so
/// that both kernels below compute the same bits.
struct Update {
  const float* gradient;
  float *m, *v;
  const float* gradient_scale;  // may be null
  const double* of_this_step;
  AdamWConstants c;

  Update(const AdamWOptions& o, const Tensor& g, const Tensor& mean, const Tensor& square)
      : gradient(g.data<float>()),
        m(mean.data<float>()),
        v(square.data<float>()),
        gradient_scale(data_or_null<float>(o.gradient_scale)),
        of_this_step(o.update.data<double>()),
        c(o) {}

  /// What gradients are multiplied by. Where it is not finite nothing is to be done.
  __device__ float scale() const { return gradient_scale != nullptr ? *gradient_scale : 1.0f; }

  __device__ AdamWUpdate now() const { return AdamWUpdate(of_this_step); }

  __device__ void operator()(int64_t i, int count, float factor, const AdamWUpdate& u,
                             float (&weight)[kPack]) const {
    float g[kPack], mean[kPack], square[kPack];
    load(gradient + i, count, g);
    load(m + i, count, mean);
    load(v + i, count, square);
    for (int j = 0; j < kPack; ++j) {
      const float scaled = g[j] * factor;
      mean[j] = fmaf(c.beta1, mean[j], c.rest1 * scaled);
      square[j] = fmaf(c.beta2, square[j], c.rest2 * scaled * scaled);
      const float step = mean[j] * u.correction1 / (sqrtf(square[j] * u.correction2) + c.eps);
      weight[j] = fmaf(-u.lr, fmaf(c.weight_decay, weight[j], step), weight[j]);
    }
    store(m + i, count, mean);
    store(v + i, count, square);
  }
};

template <class T>
struct AdamW {
  Update update;
  float* w;
  T* copy;  // may be null

  __device__ void operator()(int64_t i, int count) const {
    const float factor = update.scale();
    if (!(fabsf(factor) < INFINITY)) return;
    float weight[kPack];
    load(w + i, count, weight);
    update(i, count, factor, update.now(), weight);
    store(w + i, count, weight);
    if (copy != nullptr) store(copy + i, count, weight);
  }
};

struct AdamWStochastic {
  Update update;
  bf16* w;
  int64_t first;  // of the elements of this launch
  RoundingRanges ranges;

  __device__ void operator()(int64_t offset, int count) const {
    const int64_t i = first + offset;
    const float factor = update.scale();
    if (!(fabsf(factor) < INFINITY)) return;
    const AdamWUpdate now = update.now();
    float weight[kPack];
    load(w + i, count, weight);
    update(i, count, factor, now, weight);
    ranges.round(i, count, now.step, weight);
    store(w + i, count, weight);
  }
};

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class T>(T) {
    launch_elementwise(ctx, w.numel(),
                       AdamW<T>{{options, gradient, m, v}, w.data<float>(), data_or_null<T>(copy)});
  });
}

void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges) {
  for_each_launch(ranges, w.numel(), [&](int64_t first, int64_t end, const RoundingRanges& some) {
    launch_elementwise(ctx, end - first,
                       AdamWStochastic{{options, gradient, m, v}, w.data<bf16>(), first, some});
  });
}

}  // namespace trireme::ops::cuda
