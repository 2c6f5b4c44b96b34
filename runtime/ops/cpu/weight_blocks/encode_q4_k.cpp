// Q4_K: 256 values in 8 blocks of 32, value = d * s * code - m * l with d and m in fp16 for all and s and l
// of six bits for each block.
#include "runtime/ops/cpu/weight_blocks/affine_fit.h"
#include "runtime/ops/cpu/weight_blocks/encoders.h"

namespace trireme::ops::cpu {

namespace {

constexpr int kBlocks = 8, kElements = kBlocks * kAffineElements;
constexpr float kMostFactor = 63.0f;
constexpr int kRefits = 2;

struct Encoded {
  fp16 scale, offset;                              // d, m
  float scales[kBlocks], offsets[kBlocks], error;  // factors, and the error of all
};

TRIREME_INLINE float within_factors(float x) { return x < 0 ? 0 : x > kMostFactor ? kMostFactor : x; }

/// The factors for d and m: of the four nearest of each, those with the least error together.
TRIREME_INLINE void choose_factors(const float* x, const float* weights, const AffineFit* wanted,
                                   Encoded& encoded) {
  const float d = encoded.scale, m = encoded.offset;
  encoded.error = 0;
  for (int b = 0; b < kBlocks; ++b) {
    const float scale = d > 0 ? wanted[b].scale / d : 0.0f, offset = m > 0 ? wanted[b].offset / m : 0.0f;
    const float first_scale = static_cast<float>(static_cast<int>(within_factors(scale))) - 1.0f;
    const float first_offset = static_cast<float>(static_cast<int>(within_factors(offset))) - 1.0f;
    const Lanes steps = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    const Lanes others = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    Lanes scales = first_scale + steps, offsets = first_offset + others, errors;
    clamp_lanes(scales, 0.0f, kMostFactor);
    clamp_lanes(offsets, 0.0f, kMostFactor);
    errors_of(x + b * kAffineElements, weights + b * kAffineElements, kAffineElements, d * scales,
              m * offsets, 0.0f, kMostCode, errors);
    const int best = least_lane(errors);
    encoded.scales[b] = scales[best];
    encoded.offsets[b] = offsets[best];
    encoded.error += errors[best];
  }
}

TRIREME_INLINE void block_codes(const float* x, const Encoded& encoded, int block, float* codes) {
  codes_of(x + block * kAffineElements, kAffineElements,
           static_cast<float>(encoded.scale) * encoded.scales[block],
           static_cast<float>(encoded.offset) * encoded.offsets[block], 0.0f, kMostCode, codes);
}

/// d and m that fit the codes and factors best, by least squares.
TRIREME_INLINE bool refit(const float* x, const float* weights, Encoded& encoded) {
  float aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // of a = s * code, b = -l
  for (int b = 0; b < kBlocks; ++b) {
    float codes[kAffineElements];
    block_codes(x, encoded, b, codes);
    Lanes qq = {}, q = {}, qx = {}, wx = {}, w = {};
    for (int i = 0; i < kAffineElements; i += kLanes) {
      Lanes value, weight, code;
      load(x + b * kAffineElements + i, value);
      load(weights + b * kAffineElements + i, weight);
      load(codes + i, code);
      const Lanes weighted = weight * code;
      qq += weighted * code;
      q += weighted;
      qx += weighted * value;
      wx += weight * value;
      w += weight;
    }
    const float s = encoded.scales[b], l = encoded.offsets[b];
    aa += s * s * sum_of(qq);
    ab -= s * l * sum_of(q);
    bb += l * l * sum_of(w);
    ax += s * sum_of(qx);
    bx -= l * sum_of(wx);
  }
  const float determinant = aa * bb - ab * ab;
  if (!(aa > 0)) return false;
  float d = ax / aa, m = encoded.offset;
  if (bb > 0 && determinant > 1e-6f * aa * bb) {
    d = (bb * ax - ab * bx) / determinant;
    m = (aa * bx - ab * ax) / determinant;
  }
  if (!(d > 0) || !(m >= 0)) return false;
  encoded.scale = finite_half(d);
  encoded.offset = finite_half(m);
  return true;
}

TRIREME_INLINE void store(const float* x, const Encoded& encoded, uint8_t* out) {
  store_half(encoded.scale, out);
  store_half(encoded.offset, out + 2);
  uint8_t* factors = out + 4;
  for (int b = 0; b < kBlocks / 2; ++b) {
    const int scale = static_cast<int>(encoded.scales[b]), offset = static_cast<int>(encoded.offsets[b]);
    const int scale2 = static_cast<int>(encoded.scales[b + 4]),
              offset2 = static_cast<int>(encoded.offsets[b + 4]);
    factors[b] = static_cast<uint8_t>(scale | scale2 >> 4 << 6);
    factors[b + 4] = static_cast<uint8_t>(offset | offset2 >> 4 << 6);
    factors[b + 8] = static_cast<uint8_t>((scale2 & 15) | (offset2 & 15) << 4);
  }
  for (int b = 0; b < kBlocks; b += 2) {
    float low[kAffineElements], high[kAffineElements];
    block_codes(x, encoded, b, low);
    block_codes(x, encoded, b + 1, high);
    uint8_t* packed = out + 16 + b / 2 * kAffineElements;
    for (int i = 0; i < kAffineElements; ++i)
      packed[i] = static_cast<uint8_t>(static_cast<int>(low[i]) | static_cast<int>(high[i]) << 4);
  }
}

}  // namespace

TRIREME_VECTORIZED void encode_row_q4_k(const float* x, const float* weights, int64_t blocks, uint8_t* out) {
  for (int64_t block = 0; block < blocks; ++block, x += kElements, weights += kElements, out += 144) {
    AffineFit wanted[kBlocks];
    float scale = 0, offset = 0;
    for (int b = 0; b < kBlocks; ++b) {
      wanted[b] = fit_affine(x + b * kAffineElements, weights + b * kAffineElements, true, 1);
      scale = wanted[b].scale > scale ? wanted[b].scale : scale;
      offset = wanted[b].offset > offset ? wanted[b].offset : offset;
    }
    Encoded best{};
    best.scale = finite_half(scale / kMostFactor);
    best.offset = finite_half(offset / kMostFactor);
    choose_factors(x, weights, wanted, best);
    for (int i = 0; i < kRefits; ++i) {
      Encoded next = best;
      if (!refit(x, weights, next)) break;
      choose_factors(x, weights, wanted, next);
      if (!(next.error < best.error)) break;
      best = next;
    }
    store(x, best, out);
  }
}

}  // namespace trireme::ops::cpu
