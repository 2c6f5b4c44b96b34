#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

TRIREME_VECTORIZED void quantize_blocks(const float* x, int64_t blocks, QuantizedBlock* to) {
  constexpr uint32_t kInfinity = 0x7f800000;
  for (int64_t b = 0; b < blocks; ++b, x += kBlock, ++to) {
    // As integers, so that a NaN is larger than any number.
    uint32_t most = 0;
    for (int i = 0; i < kBlock; ++i) most = std::max(most, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
    const auto largest = std::bit_cast<float>(most);
    const bool counts = largest >= 0x1p-120f && most < kInfinity;
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
    const float nothing = most < kInfinity ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    to->scale = counts ? largest / 127.0f : nothing;
    to->sum = first + second;
    to->sum_scaled = to->scale * static_cast<float>(to->sum);
    to->half_sums[0] = first;
    to->half_sums[1] = second;
  }
}

}  // namespace trireme::ops::cpu
