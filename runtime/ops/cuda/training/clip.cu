#include "runtime/ops/training/clip.h"

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

namespace {

/// The arithmetic of the CPU body, by one thread.
__global__ void clip_factor_kernel(ClipOptions options, const double* weight, const double* squares,
                                   double* norm, float* factor) {
  const double tokens = *weight;
  const double length = tokens == 0 ? 0 : sqrt(*squares) / (tokens * options.loss_scale);
  const double mean = 1.0 / ((tokens == 0 ? 1.0 : tokens) * options.loss_scale);
  const double shrink = options.clip > 0 && length > options.clip ? options.clip / length : 1.0;
  const bool is_finite = fabs(length) < INFINITY && fabsf(*factor) < INFINITY;
  *factor = is_finite ? static_cast<float>(mean * shrink) : NAN;
  *norm = length;
}

}  // namespace

void clip_factor(Context& ctx, const ClipOptions& options, const Tensor& weight, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor) {
  launch(ctx, clip_factor_kernel, 1, 1, 0, options, weight.data<double>(), squares.data<double>(),
         norm.data<double>(), factor.data<float>());
}

}  // namespace trireme::ops::cuda
