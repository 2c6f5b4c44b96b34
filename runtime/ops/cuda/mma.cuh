// Products of 16 x 16 and 16 x 8 tiles on tensor cores, sm_80 and newer. What a warp holds of a tile is laid
// out as the PTX manual's m16n8k16 for 16-bit types: lane 4 g + t holds of a[16,16] the pairs (g, 2t), (g +
// 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), of b[16,8] the pairs (2t, g), (2t + 8, g) going down, and of the sums
// [16,8] the pairs (g, 2t), (g + 8, 2t). Each function has a second body without PTX, for the host.
#pragma once

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

template <class T>
__device__ unsigned pair_of(float low, float high) {
  return static_cast<unsigned>(narrowed<T>(low).bits) | static_cast<unsigned>(narrowed<T>(high).bits) << 16;
}

/// The pair of elements at p, which lies at a multiple of 4 bytes.
template <class T>
__device__ unsigned pair_at(const T* p) {
  return *reinterpret_cast<const unsigned*>(p);
}

/// Rows 0..15 and columns 0..15 from `first` on.
template <class T>
__device__ TileA load_a(const T* first, int stride) {
  const int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
  const T *upper = first + g * stride + 2 * t, *lower = upper + 8 * stride;
  return {pair_at(upper), pair_at(lower), pair_at(upper + 8), pair_at(lower + 8)};
}

/// b = the transpose of rows 0..7 and columns 0..15 from `first` on.
template <class T>
__device__ TileB load_b_of_rows(const T* first, int stride) {
  const int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
  const T* row = first + g * stride + 2 * t;
  return {pair_at(row), pair_at(row + 8)};
}

#ifdef __CUDACC__

/// b = rows 0..15 and columns 0..7 from `first` on, in shared memory, rows at multiples of 16 bytes.
template <class T>
__device__ TileB load_b_of_columns(const T* first, int stride) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(first + threadIdx.x % 16 * stride));
  TileB b;
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(b.pairs[0]), "=r"(b.pairs[1])
               : "r"(address)
               : "memory");
  return b;
}

__device__ inline void multiply_add(TileSums& c, const TileA& a, const TileB& b, bf16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]), "r"(b.pairs[1]));
}
__device__ inline void multiply_add(TileSums& c, const TileA& a, const TileB& b, fp16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]), "r"(b.pairs[1]));
}

#else

template <class T>
TileB load_b_of_columns(const T* first, int stride) {
  const int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
  const auto bits = [&](int row) {
    uint16_t half;
    std::memcpy(&half, first + row * stride + g, sizeof half);
    return static_cast<unsigned>(half);
  };
  return {bits(2 * t) | bits(2 * t + 1) << 16, bits(2 * t + 8) | bits(2 * t + 9) << 16};
}

/// Every lane sees the tiles of all and takes the rows and columns that its sums are of.
template <class T>
void multiply_add(TileSums& c, const TileA& a, const TileB& b, T) {
  struct Tiles {
    TileA a;
    TileB b;
  };
  const auto warp = cuda_on_host::current_block().exchange(0xffffffffu, Tiles{a, b}, CallSite::current());
  const int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
  const auto half = [](unsigned pair, int which) {
    T value;
    value.bits = static_cast<uint16_t>(pair >> 16 * which);
    return static_cast<float>(value);
  };
  for (int lane = 0; lane < 4; ++lane) {
    const TileA rows = warp.of(4 * g + lane).a;
    for (int column = 0; column < 2; ++column) {
      const TileB of = warp.of(4 * (2 * t + column) + lane).b;
      for (int k = 0; k < 4; ++k) {
        c.at[column] += half(rows.pairs[k / 2 * 2], k % 2) * half(of.pairs[k / 2], k % 2);
        c.at[2 + column] += half(rows.pairs[k / 2 * 2 + 1], k % 2) * half(of.pairs[k / 2], k % 2);
      }
    }
  }
}

#endif

/// The pairs of two neighbouring tiles of sums as the left factor of another product.
template <class T>
__device__ TileA as_a(const TileSums& left, const TileSums& right) {
  return {pair_of<T>(left.at[0], left.at[1]), pair_of<T>(left.at[2], left.at[3]),
          pair_of<T>(right.at[0], right.at[1]), pair_of<T>(right.at[2], right.at[3])};
}

}  // namespace trireme::ops::cuda
