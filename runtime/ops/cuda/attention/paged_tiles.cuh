// Paged attention on tensor cores: what its kernels for few and for many rows of a sequence share. Both do
// the same for a row: tiles of 64 keys at fixed places, each in four quarters of sixteen, whose powers are
// added up apart until the end of a split.
#pragma once

#include "runtime/ops/cuda/attention/attention_tiles.cuh"
#include "runtime/ops/cuda/attention/paged.cuh"

namespace trireme::ops::cuda {

inline constexpr int kPagedKeys = 64, kQuarters = 4;

/// Keys or values of a tile in shared memory. Numbers of 8 bits become T there, which is exact; their scales
/// are multiplied with scores and with weights.
template <class T, int D, bool kInt8>
struct PagedRowsInShared {
  SharedRows<T, D> rows;
  float* scales;  // of int8: [kPagedKeys]

  /// Asks for places [begin, begin + 64), zeros outside what the tile sees: nothing is read there.
  __device__ void fetch(const PagedKernel& p, const PagedTile& tile, int64_t begin, const void* from,
                        const float* scales_from) const {
    constexpr int kNumbers = kInt8 ? 16 : 8, kVectors = D / kNumbers;
    static_assert(kPagedKeys * kVectors % kTileThreads == 0);
#pragma unroll
    for (int i = 0; i < kPagedKeys * kVectors; i += kTileThreads) {
      const int vector = i + static_cast<int>(threadIdx.x), row = vector / kVectors,
                column = vector % kVectors * kNumbers;
      const int64_t place = begin + row;
      const int64_t row_there = place >= tile.begin && place < tile.end ? tile.cache_row(p, place) : -1;
      const bool is_there = row_there >= 0;
      const int64_t at = is_there ? row_there : 0;
      if constexpr (kInt8) {
        struct alignas(16) Codes {
          int8_t at[16];
        };
        Codes codes = {};
        if (is_there)
          codes = *reinterpret_cast<const Codes*>(static_cast<const int8_t*>(from) + at * D + column);
        auto* const to = reinterpret_cast<unsigned*>(rows.row(row) + column);
#pragma unroll
        for (int pair = 0; pair < 8; ++pair) {
          to[pair] =
              pair_of<T>(static_cast<float>(codes.at[2 * pair]), static_cast<float>(codes.at[2 * pair + 1]));
        }
        if (column == 0) scales[row] = is_there ? scales_from[at] : 0.0f;
      } else {
        copy_async<16>(rows.row(row) + column, static_cast<const T*>(from) + at * D + column, is_there);
      }
    }
  }
};

/// Rows of queries in shared memory, zeros beyond the last.
template <class T, int D, int Rows>
__device__ void fill_paged_queries(const PagedKernel& p, const PagedTile& tile, const SharedRows<T, D>& q) {
  constexpr int kPacks = D / kPack;
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPacks; i += kTileThreads) {
    const int row = i / kPacks, column = i % kPacks * kPack;
    float x[kPack] = {};
    if (row < tile.rows) load(static_cast<const T*>(p.q) + tile.q_index(p, row) + column, kPack, x);
    store(q.row(row) + column, kPack, x);
  }
}

/// Which keys rows g and g + 8 of a warp's sixteen see; none beyond the tile's last row.
struct PagedVisibility {
  int64_t first[2], last[2];

  __device__ PagedVisibility(const PagedKernel& p, const PagedTile& tile, int first_row) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + lane_in_warp() / 4 + 8 * half;
      const bool is_there = row < tile.rows;
      const int64_t place = is_there ? tile.place(p, row) : -1;
      first[half] = PagedTile::first_key(p, place);
      last[half] = place;
    }
  }
};

/// Of the 64 keys from a place on, those that rows g and g + 8 see.
struct PagedMasks {
  uint64_t of_half[2];

  __device__ PagedMasks(const PagedKernel& p, const PagedVisibility& seen, int64_t begin) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      of_half[half] = p.is_sparse ? seen_mask(p.pattern, p.sparse_window, seen.last[half], begin)
                                  : bits_between(seen.first[half] - begin, seen.last[half] + 1 - begin);
    }
  }
};

/// Products with sixteen keys, from the `from`-th one of `seen` on, become exponents of two, those out of
/// sight minus infinity. key_scales: of these keys, or null.
__device__ inline void make_exponents(const PagedKernel& p, const PagedMasks& seen, int from,
                                      const float* key_scales, TileSums* quarter) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = 8 * n + lane_in_warp() % 4 * 2 + e % 2;
      const float product = key_scales != nullptr ? quarter[n].at[e] * key_scales[column] : quarter[n].at[e];
      const bool is_visible = (seen.of_half[e / 2] >> (from + column) & 1) != 0;
      quarter[n].at[e] = is_visible ? exponent_of(p, product) : minus_infinity();
    }
  }
}

/// The largest exponent of a row in a quarter, on the four lanes that share it.
__device__ inline float quarter_max(const TileSums* quarter, int half) {
  float max = fmaxf(fmaxf(quarter[0].at[2 * half], quarter[0].at[2 * half + 1]),
                    fmaxf(quarter[1].at[2 * half], quarter[1].at[2 * half + 1]));
  max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
  return fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
}

/// Exponents become powers relative to the row's largest exponent; returns this lane's part of their sum.
__device__ inline float make_powers(TileSums* quarter, int half, float max) {
  const float base = max == minus_infinity() ? 0.0f : max;
  float sum = 0;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 2 * half; e < 2 * half + 2; ++e) {
      quarter[n].at[e] = fast_exp2(quarter[n].at[e] - base);
      sum += quarter[n].at[e];
    }
  }
  return sum;
}

/// What earlier sums are multiplied by when the largest exponent grows.
__device__ inline float growth_factor(float before, float max) {
  return max == minus_infinity() ? 1.0f : fast_exp2(before - max);
}

/// Powers of sixteen keys times the scales of their values.
__device__ inline void scale_powers(const float* value_scales, TileSums* quarter) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) quarter[n].at[e] *= value_scales[8 * n + lane_in_warp() % 4 * 2 + e % 2];
  }
}

/// Over the four lanes that share a row.
__device__ inline float sum_of_lanes(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Two neighbouring numbers of a tile's row, as sums of a split or as the result.
template <class T>
__device__ void store_pair(const PagedKernel& p, const PagedTile& tile, int row, int tile_rows, int column,
                           float left, float right, float inverse) {
  if (row >= tile.rows) return;
  if (tile.task.split >= 0) {
    float* const to = p.sums + tile.scratch_row(p, tile.task.slot, row, tile_rows) * p.head_dim + column;
    to[0] = left;
    to[1] = right;
  } else {
    T* const to = static_cast<T*>(p.out) + tile.out_index(p, row) + column;
    narrow(left * inverse, to[0]);
    narrow(right * inverse, to[1]);
  }
}
__device__ inline void store_stats(const PagedKernel& p, const PagedTile& tile, int row, int tile_rows,
                                   const SoftmaxStats& stats) {
  if (row >= tile.rows || tile.task.split < 0) return;
  float* const to = p.stats + 2 * tile.scratch_row(p, tile.task.slot, row, tile_rows);
  to[0] = stats.max;
  to[1] = stats.total;
}

}  // namespace trireme::ops::cuda
