// Blocks of 32 values as scale * code - offset with codes of four bits: the scale and offset of the least
// weighted squared error.
#pragma once

#include "runtime/ops/cpu/weight_blocks/lanes.h"

namespace trireme::ops::cpu {

inline constexpr int kAffineElements = 32;
inline constexpr float kMostCode = 15.0f;

struct AffineFit {
  float scale, offset;
};

/// Sums over a block that one lane's codes give, and what follows from them.
struct AffineSums {
  Lanes codes, squares, products;  // of w q, w q^2, w x q
};

TRIREME_INLINE void sums_of_codes(const float* x, const float* weights, float least, const Lanes& inverse,
                                  AffineSums& sums) {
  sums.codes = sums.squares = sums.products = Lanes{};
  for (int i = 0; i < kAffineElements; ++i) {
    Lanes code = (x[i] - least) * inverse;
    clamp_lanes(code, 0.0f, kMostCode);
    round_lanes(code);
    const Lanes weighted = weights[i] * code;
    sums.codes += weighted;
    sums.squares += weighted * code;
    sums.products += weighted * x[i];
  }
}

/// A block's values, and sums over them that no choice changes.
struct AffineBlock {
  const float *x, *weights;
  float least, most;
  float total = 0, mean = 0, squares = 0;  // of w, w x, w x^2

  TRIREME_INLINE AffineBlock(const float* values, const float* their_weights)
      : x(values), weights(their_weights), least(values[0]), most(values[0]) {
    for (int i = 0; i < kAffineElements; ++i) {
      least = x[i] < least ? x[i] : least;
      most = x[i] > most ? x[i] : most;
      total += weights[i];
      mean += weights[i] * x[i];
      squares += weights[i] * (x[i] * x[i]);
    }
  }
};

/// Codes by sixteen scales about that which spans [least, least + range] (the widest numbers cut off, and the
/// converse), for each the scale and offset that fit its codes best; of these the best, if it is better than
/// `error`. `is_below`: the offset may not be below zero.
TRIREME_INLINE void search_affine(const AffineBlock& block, float least, float range, bool is_below,
                                  AffineFit& fit, float& error) {
  const Lanes spans = {13.4f, 13.6f, 13.8f, 14.0f, 14.2f, 14.4f, 14.6f, 14.8f,
                       15.0f, 15.2f, 15.4f, 15.6f, 15.8f, 16.0f, 16.2f, 16.4f};
  const Lanes inverse = spans / range, zero = {};
  AffineSums sums;
  sums_of_codes(block.x, block.weights, least, inverse, sums);
  const Lanes determinant = block.total * sums.squares - sums.codes * sums.codes;
  Lanes scale = (block.total * sums.products - block.mean * sums.codes) / determinant;
  Lanes low = (sums.squares * block.mean - sums.codes * sums.products) / determinant;
  if (is_below) {
    const Lanes through_zero = sums.products / sums.squares;
    scale = low > zero ? through_zero : scale;
    low = low > zero ? zero : low;
  }
  const Lanes errors = scale * scale * sums.squares + low * low * block.total +
                       2.0f * scale * low * sums.codes - 2.0f * scale * sums.products -
                       2.0f * low * block.mean + block.squares;
  const int best = least_lane(errors);
  if (!(scale[best] > 0) || !(errors[best] < error)) return;
  fit = {scale[best], -low[best]};
  error = errors[best];
}

/// `rounds` searches, each about what the one before found.
TRIREME_INLINE AffineFit fit_affine(const float* x, const float* weights, bool is_below, int rounds) {
  const AffineBlock block(x, weights);
  const float least = is_below && block.least > 0 ? 0 : block.least, range = block.most - least;
  if (!(range > 0) || !(kMostCode / range <= 3e38f)) return {0.0f, -least};
  AffineFit fit = {range / kMostCode, -least};
  float error = 3e38f;
  for (int round = 0; round < rounds; ++round)
    search_affine(block, -fit.offset, fit.scale * kMostCode, is_below, fit, error);
  return fit;
}

}  // namespace trireme::ops::cpu
