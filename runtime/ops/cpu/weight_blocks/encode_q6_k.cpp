// Q6_K: 256 values in 16 blocks of 16, value = d * s * code with d in fp16 for all, s of eight bits for each
// block and codes of -32 to 31.
#include "runtime/ops/cpu/weight_blocks/encoders.h"
#include "runtime/ops/cpu/weight_blocks/lanes.h"

namespace trireme::ops::cpu {

namespace {

constexpr int kQ6Blocks = 16, kQ6Block = 16, kQ6Elements = kQ6Blocks * kQ6Block;
constexpr float kLeastQ6 = -32.0f, kMostQ6 = 31.0f, kLeastFactor = -128.0f, kMostQ6Factor = 127.0f;
constexpr int kQ6Refits = 2;

struct EncodedQ6 {
  fp16 scale;  // d
  float factors[kQ6Blocks], error;
};

/// The scale that fits best of those that have the largest magnitude about -32, or about 31.
TRIREME_INLINE float fit_scale(const float* x, const float* weights) {
  float extreme = 0;
  for (int i = 0; i < kQ6Block; ++i) {
    const float magnitude = x[i] < 0 ? -x[i] : x[i];
    extreme = magnitude > (extreme < 0 ? -extreme : extreme) ? x[i] : extreme;
  }
  if (!(1.0f / (extreme < 0 ? -extreme : extreme) <= 1e36f)) return 0;
  const Lanes spans = {-30.8f, -31.0f, -31.2f, -31.4f, -31.6f, -31.8f, -32.0f, -32.2f,
                       -32.4f, -32.6f, 30.0f,  30.3f,  30.6f,  30.9f,  31.2f,  31.5f};
  const Lanes inverse = spans / extreme;
  Lanes squares = {}, products = {};
  for (int i = 0; i < kQ6Block; ++i) {
    Lanes code = x[i] * inverse;
    clamp_lanes(code, kLeastQ6, kMostQ6);
    round_lanes(code);
    const Lanes weighted = weights[i] * code;
    squares += weighted * code;
    products += weighted * x[i];
  }
  const int best = least_lane(-(products * products) / squares);
  return squares[best] > 0 ? products[best] / squares[best] : 0;
}

TRIREME_INLINE float within_q6_factors(float x) {
  return x < kLeastFactor ? kLeastFactor : x > kMostQ6Factor ? kMostQ6Factor : x;
}

/// The factors for d: of the sixteen nearest that with the least error.
TRIREME_INLINE void choose_q6_factors(const float* x, const float* weights, const float* wanted,
                                      EncodedQ6& encoded) {
  const float d = encoded.scale, inverse = d == 0 ? 0 : 1.0f / d;
  encoded.error = 0;
  for (int b = 0; b < kQ6Blocks; ++b) {
    const float first = static_cast<float>(static_cast<int>(within_q6_factors(wanted[b] * inverse))) - 7.0f;
    const Lanes steps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Lanes factors = first + steps, errors;
    clamp_lanes(factors, kLeastFactor, kMostQ6Factor);
    errors_of(x + b * kQ6Block, weights + b * kQ6Block, kQ6Block, d * factors, Lanes{}, kLeastQ6, kMostQ6,
              errors);
    const int best = least_lane(errors);
    encoded.factors[b] = factors[best];
    encoded.error += errors[best];
  }
}

TRIREME_INLINE void q6_codes(const float* x, const EncodedQ6& encoded, int block, float* codes) {
  codes_of(x + block * kQ6Block, kQ6Block, static_cast<float>(encoded.scale) * encoded.factors[block], 0.0f,
           kLeastQ6, kMostQ6, codes);
}

/// d that fits the codes and factors best, by least squares.
TRIREME_INLINE bool refit_q6(const float* x, const float* weights, EncodedQ6& encoded) {
  float squares = 0, products = 0;
  for (int b = 0; b < kQ6Blocks; ++b) {
    float codes[kQ6Block];
    q6_codes(x, encoded, b, codes);
    Lanes value, weight, code;
    load(x + b * kQ6Block, value);
    load(weights + b * kQ6Block, weight);
    load(codes, code);
    squares += encoded.factors[b] * encoded.factors[b] * sum_of(weight * code * code);
    products += encoded.factors[b] * sum_of(weight * code * value);
  }
  if (!(squares > 0)) return false;
  encoded.scale = finite_half(products / squares);
  return true;
}

/// A half of 128 values is four rows of 32: the low four bits of rows 0 and 1 below those of rows 2 and 3,
/// and the high two of all four in one byte.
TRIREME_INLINE void store_q6(const float* x, const EncodedQ6& encoded, uint8_t* out) {
  float codes[kQ6Elements];
  for (int b = 0; b < kQ6Blocks; ++b) {
    q6_codes(x, encoded, b, codes + b * kQ6Block);
    out[192 + b] = static_cast<uint8_t>(static_cast<int8_t>(encoded.factors[b]));
  }
  for (int half = 0; half < 2; ++half) {
    int rows[4][32];
    for (int i = 0; i < 128; ++i) rows[i / 32][i % 32] = static_cast<int>(codes[half * 128 + i]) + 32;
    for (int i = 0; i < 32; ++i) {
      out[half * 64 + i] = static_cast<uint8_t>((rows[0][i] & 15) | (rows[2][i] & 15) << 4);
      out[half * 64 + 32 + i] = static_cast<uint8_t>((rows[1][i] & 15) | (rows[3][i] & 15) << 4);
      out[128 + half * 32 + i] = static_cast<uint8_t>(rows[0][i] >> 4 | rows[1][i] >> 4 << 2 |
                                                      rows[2][i] >> 4 << 4 | rows[3][i] >> 4 << 6);
    }
  }
  store_half(encoded.scale, out + 208);
}

}  // namespace

TRIREME_VECTORIZED void encode_row_q6_k(const float* x, const float* weights, int64_t blocks, uint8_t* out) {
  for (int64_t block = 0; block < blocks; ++block, x += kQ6Elements, weights += kQ6Elements, out += 210) {
    float wanted[kQ6Blocks], extreme = 0;
    for (int b = 0; b < kQ6Blocks; ++b) {
      wanted[b] = fit_scale(x + b * kQ6Block, weights + b * kQ6Block);
      const float magnitude = wanted[b] < 0 ? -wanted[b] : wanted[b];
      extreme = magnitude > (extreme < 0 ? -extreme : extreme) ? wanted[b] : extreme;
    }
    EncodedQ6 best{};
    best.scale = finite_half(extreme / kLeastFactor);
    choose_q6_factors(x, weights, wanted, best);
    for (int i = 0; i < kQ6Refits; ++i) {
      EncodedQ6 next = best;
      if (!refit_q6(x, weights, next)) break;
      choose_q6_factors(x, weights, wanted, next);
      if (!(next.error < best.error)) break;
      best = next;
    }
    store_q6(x, best, out);
  }
}

}  // namespace trireme::ops::cpu
