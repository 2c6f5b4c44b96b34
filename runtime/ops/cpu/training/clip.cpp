#include "runtime/ops/training/clip.h"

#include <cmath>
#include <limits>

namespace trireme::ops::cpu {

void clip_factor(Context&, const ClipOptions& options, const Tensor& weight, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor) {
  const double tokens = *weight.data<double>();
  const double length = tokens == 0 ? 0 : std::sqrt(*squares.data<double>()) / (tokens * options.loss_scale);
  const double mean = 1.0 / ((tokens == 0 ? 1.0 : tokens) * options.loss_scale);
  const double shrink = options.clip > 0 && length > options.clip ? options.clip / length : 1.0;
  float& out = *factor.data<float>();
  out = std::isfinite(length) && std::isfinite(out) ? static_cast<float>(mean * shrink)
                                                    : std::numeric_limits<float>::quiet_NaN();
  *norm.data<double>() = length;
}

}  // namespace trireme::ops::cpu
