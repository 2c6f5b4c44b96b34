// What the attention kernels on tensor cores share: tiles of rows in shared memory, a warp's part of products
// with them, and which cases the kernels serve.
#pragma once

#include <type_traits>
#include <utility>

#include "runtime/ops/cuda/async_copy.cuh"
#include "runtime/ops/cuda/attention/attention.cuh"
#include "runtime/ops/cuda/attention/attention_visibility.cuh"
#include "runtime/ops/cuda/mma.cuh"

namespace trireme::ops::cuda {

inline constexpr int kTileWarps = 4, kTileThreads = kTileWarps * kWarp;
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

/// The first of a warp's M tiles of sixteen rows.
template <int M>
__device__ int first_row_of_warp() {
  return static_cast<int>(threadIdx.x / kWarp) * 16 * M;
}

/// Rows of D columns (a multiple of 16) in shared memory. They lie an odd number of 16 bytes apart, so that
/// the eight rows of a matrix (mma.cuh) are in different banks.
template <class T, int D>
struct SharedRows {
  static constexpr int kStride = D + 8;
  T* data;

  static constexpr size_t bytes(int rows) { return sizeof(T) * static_cast<size_t>(rows * kStride); }
  __device__ SharedRows behind(int rows) const { return {data + rows * kStride}; }
  __device__ T* row(int i) const { return data + i * kStride; }

  /// Asks for rows [begin, begin + Rows), zeros beyond the last. A row is fetched by as many threads as have
  /// equal shares in it, up to eight.
  template <int Rows>
  __device__ void fetch(const HeadRows<T>& rows, int64_t begin) const {
    constexpr int kVectors = D / 8, kThreadsARow = kVectors % 8 == 0 ? 8 : kVectors % 4 == 0 ? 4 : 2;
    constexpr int kRowsAtOnce = kTileThreads / kThreadsARow;
    const int first = static_cast<int>(threadIdx.x) / kThreadsARow,
              column = static_cast<int>(threadIdx.x) % kThreadsARow * 8;
    const int there = static_cast<int>(rows.rows - begin < Rows ? rows.rows - begin : Rows);
    const T* from = rows[begin + first] + column;
#pragma unroll
    for (int r = 0; r < Rows; r += kRowsAtOnce, from += kRowsAtOnce * rows.stride) {
      if (r + kRowsAtOnce > Rows && r + first >= Rows) break;
#pragma unroll
      for (int c = 0; c < D; c += 8 * kThreadsARow) {
        copy_async<16>(row(r + first) + column + c, from + c, r + first < there);
      }
    }
  }
};

/// The left factor of a product, M tiles of sixteen rows: each part loaded where it is used.
template <class T, int D, int M>
struct RowsInShared {
  SharedRows<T, D> first;
  __device__ TileA at(int m, int d) const { return load_a(first.row(16 * m) + 16 * d, first.kStride); }
};

/// The same, kept in registers: 4 M D / 16 of them.
template <class T, int D, int M>
struct RowsInRegisters {
  TileA tiles[M][D / 16];
  __device__ explicit RowsInRegisters(const RowsInShared<T, D, M>& rows) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int d = 0; d < D / 16; ++d) tiles[m][d] = rows.at(m, d);
    }
  }
  __device__ TileA at(int m, int d) const { return tiles[m][d]; }
};

/// scores += left · (rows [0, 8 N) of right)ᵀ.
template <class Left, class T, int D, int M, int N>
__device__ void multiply_rows(const Left& left, const SharedRows<T, D>& right, TileSums (&scores)[M][N]) {
#pragma unroll
  for (int d = 0; d < D / 16; ++d) {
    TileA a[M];
#pragma unroll
    for (int m = 0; m < M; ++m) a[m] = left.at(m, d);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      const TilesB b = load_b_of_rows(right.row(8 * n) + 16 * d, right.kStride);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiply_add(scores[m][n], a[m], b.left, T{});
        multiply_add(scores[m][n + 1], a[m], b.right, T{});
      }
    }
  }
}

/// 16 M rows of D columns, as a warp's sums.
template <class T, int D, int M>
struct RowSums {
  TileSums at[M][D / 8];

  /// += weights · rows [0, 8 N) of the tile; weights are rounded to T.
  template <int N>
  __device__ void add(const TileSums (&weights)[M][N], const SharedRows<T, D>& tile) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      TileA a[M];
#pragma unroll
      for (int m = 0; m < M; ++m) a[m] = as_a<T>(weights[m][n], weights[m][n + 1]);
#pragma unroll
      for (int d = 0; d < D / 16; ++d) {
        const TilesB b = load_b_of_columns(tile.row(8 * n) + 16 * d, tile.kStride);
#pragma unroll
        for (int m = 0; m < M; ++m) {
          multiply_add(at[m][2 * d], a[m], b.left, T{});
          multiply_add(at[m][2 * d + 1], a[m], b.right, T{});
        }
      }
    }
  }

  /// Rows g and g + 8 of each tile times their factors.
  __device__ void scale(const float (&factors)[M][2]) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (TileSums& tile : at[m]) {
        tile.at[0] *= factors[m][0], tile.at[1] *= factors[m][0];
        tile.at[2] *= factors[m][1], tile.at[3] *= factors[m][1];
      }
    }
  }

  __device__ void scale(float factor) {
#pragma unroll
    for (auto& tiles : at) {
#pragma unroll
      for (TileSums& tile : tiles) {
#pragma unroll
        for (float& x : tile.at) x *= factor;
      }
    }
  }

  /// To rows from `begin` on, in vectors of 16 bytes, by way of shared rows that only this warp uses.
  __device__ void store(const HeadRows<T>& rows, int64_t begin, const SharedRows<T, D>& way) const {
    const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int c = 0; c < D / 8; ++c) {
        const TileSums& tile = at[m][c];
        *reinterpret_cast<unsigned*>(way.row(16 * m + g) + 8 * c + 2 * t) =
            pair_of<T>(tile.at[0], tile.at[1]);
        *reinterpret_cast<unsigned*>(way.row(16 * m + g + 8) + 8 * c + 2 * t) =
            pair_of<T>(tile.at[2], tile.at[3]);
      }
    }
    __syncwarp();
    constexpr int kVectors = D / 8;
#pragma unroll
    for (int i = lane_in_warp(); i < 16 * M * kVectors; i += kWarp) {
      const int row = i / kVectors, column = i % kVectors * 8;
      if (begin + row >= rows.rows) break;
      *reinterpret_cast<uint4*>(rows[begin + row] + column) =
          *reinterpret_cast<const uint4*>(way.row(row) + column);
    }
  }
};

/// Products of queries and keys become their scores under a soft cap.
template <int M, int N>
__device__ void cap_scores(TileSums (&products)[M][N], const KernelShape& s) {
  const float factor = s.scale / s.soft_cap;
#pragma unroll
  for (auto& tiles : products) {
#pragma unroll
    for (TileSums& tile : tiles) {
#pragma unroll
      for (float& x : tile.at) x = s.soft_cap * tanhf(x * factor);
    }
  }
}

/// Without a window, a pattern, a soft cap and first keys: kernels are made for that case apart, which has no
/// registers left for more.
inline bool is_plain(const AttentionShape& s) {
  return s.window == 0 && !s.pattern && s.soft_cap == 0 && !s.first_key;
}

template <bool kPlain>
__device__ bool is_capped(const KernelShape& s) {
  return !kPlain && s.soft_cap > 0;
}

/// What turns the scores that the kernels hold into exponents of e: those under a soft cap are the scores
/// themselves.
template <bool kPlain>
__device__ float scale_of_scores(const KernelShape& s) {
  return is_capped<kPlain>(s) ? 1.0f : s.scale;
}

/// Vectors of 16 bytes reach every row.
inline bool is_in_vectors(const Columns& c) {
  return c.stride() % 8 == 0 &&
         (reinterpret_cast<uintptr_t>(c.matrix.raw()) / 2 + static_cast<uint64_t>(c.begin)) % 8 == 0;
}

/// Calls body(T{}, integral_constant of D, bool_constant of is_plain) where the kernels serve the case, and
/// says whether they do: bf16 and fp16, the heads named here, a scale above 0 (the largest score stays the
/// largest).
template <class Body, class... Matrices>
bool on_tensor_cores(const AttentionShape& s, DType dtype, const Body& body, const Matrices&... matrices) {
  if (dtype == DType::f32 || !(s.scale > 0) || !(is_in_vectors(matrices) && ...)) return false;
  const auto with_dim = [&]<int... D>(auto type, std::integer_sequence<int, D...>) {
    const auto call = [&](auto dim) {
      if (is_plain(s))
        body(type, dim, std::true_type());
      else
        body(type, dim, std::false_type());
      return true;
    };
    return ((s.head_dim == D && call(std::integral_constant<int, D>())) || ...);
  };
  using HeadDims = std::integer_sequence<int, 32, 64, 80, 96, 128>;
  return dtype == DType::bf16 ? with_dim(bf16{}, HeadDims()) : with_dim(fp16{}, HeadDims());
}

}  // namespace trireme::ops::cuda
