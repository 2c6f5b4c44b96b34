#include "runtime/ops/training/muon.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/training/muon_constants.h"

namespace trireme::ops::cuda {

namespace {

struct Momentum {
  MuonConstants c;
  const float* gradient_scale;
  const float* gradient;
  float *m, *direction;  // direction may be null

  __device__ void operator()(int64_t i, int count) const {
    const float factor = *gradient_scale;
    float g[kPack] = {}, mean[kPack] = {};
    if (fabsf(factor) < INFINITY) {
      load(gradient + i, count, g);
      load(m + i, count, mean);
      for (int j = 0; j < kPack; ++j) {
        g[j] *= factor;
        mean[j] = fmaf(c.momentum, mean[j], c.rest * g[j]);
      }
      store(m + i, count, mean);
      for (int j = 0; j < kPack; ++j) g[j] = fmaf(c.blend, mean[j], c.blend_rest * g[j]);
    }
    if (direction != nullptr) store(direction + i, count, g);
  }
};

template <class T>
struct Normalize {
  const float* x;
  const double* squares;
  T* y;

  __device__ void operator()(int64_t i, int count) const {
    const float factor = muon_factor_of_norm(sqrt(*squares));
    float value[kPack];
    load(x + i, count, value);
    for (float& v : value) v *= factor;
    store(y + i, count, value);
  }
};

template <class In, class Out>
struct Apply {
  const float* gradient_scale;
  const double* update;
  float scale, decay;
  const In* orthogonal;
  float* w;
  Out* copy;  // may be null

  __device__ void operator()(int64_t i, int count) const {
    if (!(fabsf(*gradient_scale) < INFINITY)) return;
    const float lr = static_cast<float>(update[0]);
    float o[kPack], weight[kPack];
    load(orthogonal + i, count, o);
    load(w + i, count, weight);
    for (int j = 0; j < kPack; ++j) weight[j] = fmaf(-lr, fmaf(decay, weight[j], scale * o[j]), weight[j]);
    store(w + i, count, weight);
    if (copy != nullptr) store(copy + i, count, weight);
  }
};

}  // namespace

void muon_momentum(Context& ctx, const MuonOptions& options, const Tensor& gradient, const Tensor& m,
                   const Tensor& direction) {
  launch_elementwise(ctx, m.numel(),
                     Momentum{MuonConstants(options), options.gradient_scale.data<float>(),
                              gradient.data<float>(), m.data<float>(), data_or_null<float>(direction)});
}

void muon_normalize(Context& ctx, const Tensor& x, const Tensor& squares, const Tensor& y) {
  with_compute_type(y.dtype(), [&]<class T>(T) {
    launch_elementwise(ctx, x.numel(), Normalize<T>{x.data<float>(), squares.data<double>(), y.data<T>()});
  });
}

void muon_apply(Context& ctx, const MuonOptions& options, const Tensor& orthogonal, const Tensor& w,
                const Tensor& copy) {
  with_compute_type(orthogonal.dtype(), [&]<class In>(In) {
    with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class Out>(Out) {
      launch_elementwise(ctx, w.numel(),
                         Apply<In, Out>{options.gradient_scale.data<float>(), options.update.data<double>(),
                                        options.scale, options.weight_decay, orthogonal.data<In>(),
                                        w.data<float>(), data_or_null<Out>(copy)});
    });
  });
}

}  // namespace trireme::ops::cuda
