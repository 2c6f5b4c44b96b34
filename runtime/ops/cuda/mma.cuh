// Products of 16 x 16 and 16 x 8 tiles on tensor cores, sm_80 and newer. What a warp holds of a tile is laid
// out as the PTX manual's m16n8k16 for 16-bit types: lane 4 g + t holds of a[16,16] the pairs (g, 2t), (g +
// 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), of b[16,8] the pairs (2t, g), (2t + 8, g) going down, and of the sums
// [16,8] the pairs (g, 2t), (g + 8, 2t). PTX has a second body without it, for the host.
#pragma once

#include <type_traits>

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

struct TileA {
  unsigned pairs[4];
};
struct TileB {
  unsigned pairs[2];
};
struct TileSums {
  float at[4] = {};
};

__device__ inline int lane_in_warp() { return static_cast<int>(threadIdx.x % kWarp); }

/// Four matrices of 8 x 8 elements of 16 bits in shared memory (ldmatrix of the PTX manual): lane 8 m + r
/// gives the address of row r of matrix m, a multiple of 16 bytes, and lane 4 g + t receives of each matrix
/// the pair (g, 2t), or of its transpose.
struct FourMatrices {
  unsigned pairs[4];
};

#ifdef __CUDACC__

template <bool IsTransposed, class T>
__device__ FourMatrices load_matrices(const T* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  FourMatrices m;
  if constexpr (IsTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m.pairs[0]), "=r"(m.pairs[1]), "=r"(m.pairs[2]), "=r"(m.pairs[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m.pairs[0]), "=r"(m.pairs[1]), "=r"(m.pairs[2]), "=r"(m.pairs[3])
                 : "r"(address)
                 : "memory");
  }
  return m;
}

__device__ inline void multiply_add(TileSums& c, const TileA& a, const TileB& b, bf16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]), "r"(b.pairs[1]));
}
__device__ inline void multiply_add(TileSums& c, const TileA& a, const TileB& b, fp16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]), "r"(b.pairs[1]));
}

/// Both rounded to T by one instruction, `low` in the lower half.
template <class T>
__device__ unsigned pair_of(float low, float high) {
  unsigned pair;
  if constexpr (std::is_same_v<T, bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
}

/// 2^x within 2^-22 of it; results below the normal numbers are 0.
__device__ inline float fast_exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

#else

template <bool IsTransposed, class T>
FourMatrices load_matrices(const T* row) {
  const auto rows = cuda_on_host::current_block().exchange(0xffffffffu, row, CallSite::current());
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
  FourMatrices loaded;
  for (int m = 0; m < 4; ++m) {
    const auto element = [&](int i) {
      return IsTransposed ? rows.of(8 * m + i)[g].bits : rows.of(8 * m + g)[i].bits;
    };
    loaded.pairs[m] = static_cast<unsigned>(element(2 * t)) | static_cast<unsigned>(element(2 * t + 1)) << 16;
  }
  return loaded;
}

/// Every lane sees the tiles of all and takes the rows and columns that its sums are of.
template <class T>
void multiply_add(TileSums& c, const TileA& a, const TileB& b, T) {
  struct Tiles {
    TileA a;
    TileB b;
  };
  const auto warp = cuda_on_host::current_block().exchange(0xffffffffu, Tiles{a, b}, CallSite::current());
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
  const auto widened = [](unsigned pair, float* to) {
    for (int i = 0; i < 2; ++i) {
      T value;
      value.bits = static_cast<uint16_t>(pair >> 16 * i);
      to[i] = static_cast<float>(value);
    }
  };
  for (int lane = 0; lane < 4; ++lane) {
    const TileA rows = warp.of(4 * g + lane).a;
    float upper[4], lower[4];
    for (int half = 0; half < 2; ++half) {
      widened(rows.pairs[2 * half], upper + 2 * half);
      widened(rows.pairs[2 * half + 1], lower + 2 * half);
    }
    for (int column = 0; column < 2; ++column) {
      const TileB of = warp.of(4 * (2 * t + column) + lane).b;
      float down[4];
      for (int half = 0; half < 2; ++half) widened(of.pairs[half], down + 2 * half);
      for (int k = 0; k < 4; ++k) {
        c.at[column] += upper[k] * down[k];
        c.at[2 + column] += lower[k] * down[k];
      }
    }
  }
}

template <class T>
unsigned pair_of(float low, float high) {
  return static_cast<unsigned>(narrowed<T>(low).bits) | static_cast<unsigned>(narrowed<T>(high).bits) << 16;
}

inline float fast_exp2(float x) { return exp2f(x); }

#endif

/// Rows 0..15 and columns 0..15 from `first` on, in shared memory, rows at multiples of 16 bytes.
template <class T>
__device__ TileA load_a(const T* first, int stride) {
  const int lane = lane_in_warp();
  const FourMatrices m = load_matrices<false>(first + lane % 16 * stride + lane / 16 * 8);
  return {m.pairs[0], m.pairs[1], m.pairs[2], m.pairs[3]};
}

/// Two neighbouring tiles b, of columns 0..7 and of columns 8..15.
struct TilesB {
  TileB left, right;
};

/// b[16,16] = the transpose of rows 0..15 and columns 0..15 from `first` on, memory as above.
template <class T>
__device__ TilesB load_b_of_rows(const T* first, int stride) {
  const int lane = lane_in_warp();
  const FourMatrices m = load_matrices<false>(first + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
  return {{m.pairs[0], m.pairs[1]}, {m.pairs[2], m.pairs[3]}};
}

/// b[16,16] = rows 0..15 and columns 0..15 from `first` on, memory as above.
template <class T>
__device__ TilesB load_b_of_columns(const T* first, int stride) {
  const int lane = lane_in_warp();
  const FourMatrices m = load_matrices<true>(first + lane % 16 * stride + lane / 16 * 8);
  return {{m.pairs[0], m.pairs[1]}, {m.pairs[2], m.pairs[3]}};
}

/// The pairs of two neighbouring tiles of sums as the left factor of another product.
template <class T>
__device__ TileA as_a(const TileSums& left, const TileSums& right) {
  return {pair_of<T>(left.at[0], left.at[1]), pair_of<T>(left.at[2], left.at[3]),
          pair_of<T>(right.at[0], right.at[1]), pair_of<T>(right.at[2], right.at[3])};
}

}  // namespace trireme::ops::cuda
