#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

constexpr uint32_t kBitsOfInfinity = 0x7f800000;

/// The largest magnitude's bits: as integers, so that a NaN is larger than any number.
TRIREME_INLINE uint32_t most_of(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return most;
}

/// A block by the scale that `most` asks for.
TRIREME_INLINE void quantize_block(const float* x, uint32_t most, QuantizedBlock* to) {
  const auto largest = std::bit_cast<float>(most);
  const bool counts = largest >= 0x1p-120f && most < kBitsOfInfinity;
  const float inverse = counts ? 127.0f / largest : 0.0f;
  int32_t q[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    // No NaN may become an integer.
    q[i] = counts ? static_cast<int32_t>(std::nearbyint(x[i] * inverse)) : 0;
    to->q[i] = static_cast<int8_t>(q[i]);
  }
  int32_t first = 0, second = 0;
  for (int i = 0; i < kBlock / 2; ++i) {
    first += q[i];
    second += q[kBlock / 2 + i];
  }
  const float nothing = most < kBitsOfInfinity ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  to->scale = counts ? largest / 127.0f : nothing;
  to->sum = first + second;
  to->sum_scaled = to->scale * static_cast<float>(to->sum);
  to->half_sums[0] = first;
  to->half_sums[1] = second;
}

}  // namespace

TRIREME_VECTORIZED void quantize_blocks(const float* x, int64_t blocks, QuantizedBlock* to) {
  for (int64_t b = 0; b < blocks; ++b, x += kBlock) quantize_block(x, most_of(x, kBlock), to + b);
}

TRIREME_VECTORIZED void quantize_whole_row(const float* x, int64_t blocks, QuantizedBlock* to) {
  const uint32_t most = most_of(x, blocks * kBlock);
  for (int64_t b = 0; b < blocks; ++b, x += kBlock) quantize_block(x, most, to + b);
}

}  // namespace trireme::ops::cpu
