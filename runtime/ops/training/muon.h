// What Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) does to single elements; the products
// between are parallel/optimizer/newton_schulz.h.
#pragma once

#include <vector>

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

struct MuonOptions {
  float momentum = 0.95f;
  bool nesterov = true;
  float weight_decay = 0;
  float scale = 1;  ///< of the orthogonal matrix, before the learning rate
  /// [kMuonUpdateSize] f64: the values of muon_update(), which are others at each update. They lie on the
  /// device, so that a captured step finds those of its time.
  Tensor update = {};
  /// [1] f32, as AdamWOptions::gradient_scale; always there.
  Tensor gradient_scale = {};
};

inline constexpr int64_t kMuonUpdateSize = 2;
/// Of update `number`, counted from 1: lr and number.
std::vector<double> muon_update(double lr, int64_t number);

/// m = momentum m + (1 - momentum) g, and what is to be made orthogonal: direction = momentum m + (1 -
/// momentum) g with the new m (Nesterov), or m. f32, as many elements each; direction may be absent. A scale
/// that is not finite leaves m as it was and makes the direction zero.
void muon_momentum(Context& ctx, const MuonOptions& options, const Tensor& gradient, const Tensor& m,
                   const Tensor& direction);
TRIREME_OP_BODIES(muon_momentum, Context& ctx, const MuonOptions& options, const Tensor& gradient,
                  const Tensor& m, const Tensor& direction)

/// y = x / max(sqrt(squares[0]), 1e-7): a matrix whose singular values are at most 1, where squares ([1] f64)
/// is the sum of x's squares. x: f32, y: a compute type, as many elements.
void muon_normalize(Context& ctx, const Tensor& x, const Tensor& squares, const Tensor& y);
TRIREME_OP_BODIES(muon_normalize, Context& ctx, const Tensor& x, const Tensor& squares, const Tensor& y)

/// w = w - lr * (scale * orthogonal + wd * w). w: f32; orthogonal: a compute type; copy (a compute type, may
/// be absent) receives the rounded new weights. A gradient scale that is not finite changes nothing.
void muon_apply(Context& ctx, const MuonOptions& options, const Tensor& orthogonal, const Tensor& w,
                const Tensor& copy);
TRIREME_OP_BODIES(muon_apply, Context& ctx, const MuonOptions& options, const Tensor& orthogonal,
                  const Tensor& w, const Tensor& copy)

}  // namespace trireme::ops
