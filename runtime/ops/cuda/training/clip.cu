#include "runtime/ops/training/clip.h"

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

namespace {

/// The arithmetic of the CPU body, by one thread.
__global__ void clip_factor_kernel(ClipOptions options, const double* num_targets, const double* squares,
                                   double* norm, float* factor) {
  const double targets = *num_targets;
  const double length = targets == 0 ? 0 : sqrt(*squares) / (targets * options.loss_scale);
  const double mean = 1.0 / (fmax(targets, 1.0) * options.loss_scale);
  const double shrink = options.clip > 0 && length > options.clip ? options.clip / length : 1.0;
  const bool is_finite = fabs(length) < INFINITY && fabsf(*factor) < INFINITY;
  *factor = is_finite ? static_cast<float>(mean * shrink) : NAN;
  *norm = length;
}

}  // namespace

void clip_factor(Context& ctx, const ClipOptions& options, const Tensor& num_targets, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor) {
  launch(ctx, clip_factor_kernel, 1, 1, 0, options, num_targets.data<double>(), squares.data<double>(),
         norm.data<double>(), factor.data<float>());
}

}  // namespace trireme::ops::cuda
