#include "runtime/ops/training/clip.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::ops::cpu {

void clip_factor(Context&, const ClipOptions& options, const Tensor& num_targets, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor) {
  const double targets = *num_targets.data<double>();
  const double length =
      targets == 0 ? 0 : std::sqrt(*squares.data<double>()) / (targets * options.loss_scale);
  const double mean = 1.0 / (std::max(targets, 1.0) * options.loss_scale);
  const double shrink = options.clip > 0 && length > options.clip ? options.clip / length : 1.0;
  float& out = *factor.data<float>();
  out = std::isfinite(length) && std::isfinite(out) ? static_cast<float>(mean * shrink)
                                                    : std::numeric_limits<float>::quiet_NaN();
  *norm.data<double>() = length;
}

}  // namespace trireme::ops::cpu
