// What Muon multiplies by, the same on every device.
#pragma once

#include <cmath>

#include "runtime/ops/training/muon.h"

namespace trireme::ops {

struct MuonConstants {
  float momentum, rest;     // of the momentum and the gradient in the new momentum
  float blend, blend_rest;  // of the new momentum and the gradient in the direction

  explicit MuonConstants(const MuonOptions& o)
      : momentum(o.momentum),
        rest(1.0f - o.momentum),
        blend(o.nesterov ? o.momentum : 1.0f),
        blend_rest(o.nesterov ? 1.0f - o.momentum : 0.0f) {}
};

/// What makes a matrix with this sum of squares one whose singular values are at most 1.
constexpr float muon_factor_of_norm(double norm) {
  constexpr double kLeastNorm = 1e-7;
  return static_cast<float>(1.0 / (norm > kLeastNorm ? norm : kLeastNorm));
}
inline float muon_factor(double squares) { return muon_factor_of_norm(std::sqrt(squares)); }

}  // namespace trireme::ops
