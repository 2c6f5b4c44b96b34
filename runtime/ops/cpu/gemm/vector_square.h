// Squares of floats that are transposed in vector registers.
#pragma once

#include <cstdint>
#include <utility>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

template <int kWidth>
struct VectorSquare {
  // Wherever floats lie, in whole vectors.
  typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));

  Vector rows[kWidth];

  /// Exchanges rows and columns, by exchanging ever larger squares within.
  TRIREME_INLINE void transpose() {
    exchange<1>();
    exchange<2>();
    if constexpr (kWidth >= 8) exchange<4>();
    if constexpr (kWidth >= 16) exchange<8>();
  }

 private:
  // Rows r and r + kSize of every two exchange the squares of kSize beside the diagonal.
  template <int kSize>
  TRIREME_INLINE void exchange() {
    [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r) {
        if ((r & kSize) != 0) continue;
        const Vector upper = rows[r], lower = rows[r + kSize];
        rows[r] = __builtin_shufflevector(upper, lower, ((i & kSize) != 0 ? kWidth + i - kSize : i)...);
        rows[r + kSize] =
            __builtin_shufflevector(upper, lower, ((i & kSize) != 0 ? kWidth + i : i + kSize)...);
      }
    }
    (std::make_integer_sequence<int, kWidth>());
  }
};

}  // namespace trireme::ops::cpu
