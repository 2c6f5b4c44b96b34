// Paged attention in fp32 arithmetic, for all types and heads up to 256. A block has one tile of 4 R rows of
// queries of one key head, its warps R each, and goes through tiles of 32 keys: scores with a lane for each
// key, sums with a lane for every thirty-second column.
#pragma once

#include "runtime/ops/cuda/attention/paged.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

/// R rows of queries a warp, up to 32 C columns.
template <int C, int R>
struct PagedRowsPlan {
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp, kKeys = 32, kRows = kWarps * R;
  static constexpr int kColumns = C * kWarp, kStride = kColumns + 1;
  static constexpr size_t kBytes =
      sizeof(float) * static_cast<size_t>((kRows + 2 * kKeys) * kStride + kRows * kKeys);

  /// Neighbouring rows belong to different warps, so that few rows keep all busy.
  __device__ static int row(int r) { return r * kWarps + static_cast<int>(threadIdx.x / kWarp); }
};

template <int C, int R>
__device__ void fill_queries(const PagedKernel& p, const PagedTile& tile, float* q) {
  using Plan = PagedRowsPlan<C, R>;
  constexpr int kPacks = Plan::kColumns / kPack;
  for (int i = static_cast<int>(threadIdx.x); i < Plan::kRows * kPacks; i += Plan::kThreads) {
    const int row = i / kPacks, column = i % kPacks * kPack;
    float x[kPack] = {};
    if (row < tile.rows && column < p.head_dim) {
      load_stored(p.type, p.q, tile.q_index(p, row) + column, pack_size(column, p.head_dim), 1, x);
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) q[row * Plan::kStride + column + j] = x[j];
  }
}

/// Keys and values at places [begin, begin + 32), zeros outside [tile.begin, tile.end): nothing is read
/// there.
template <int C, int R>
__device__ void fill_keys(const PagedKernel& p, const PagedTile& tile, int64_t begin, float* k, float* v) {
  using Plan = PagedRowsPlan<C, R>;
  constexpr int kPacks = Plan::kColumns / kPack;
  const bool is_int8 = p.stored == StoredType::int8;
  for (int i = static_cast<int>(threadIdx.x); i < Plan::kKeys * kPacks; i += Plan::kThreads) {
    const int row = i / kPacks, column = i % kPacks * kPack;
    const int64_t place = begin + row;
    float key[kPack] = {}, value[kPack] = {};
    const bool is_there = place >= tile.begin && place < tile.end && column < p.head_dim;
    const int64_t at = is_there ? tile.cache_row(p, place) : -1;
    if (at >= 0) {
      const int64_t index = at * p.head_dim + column;
      const int count = pack_size(column, p.head_dim);
      load_stored(p.stored, p.keys, index, count, is_int8 ? p.key_scales[at] : 1.0f, key);
      load_stored(p.stored, p.values, index, count, is_int8 ? p.value_scales[at] : 1.0f, value);
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      k[row * Plan::kStride + column + j] = key[j];
      v[row * Plan::kStride + column + j] = value[j];
    }
  }
}

/// What a warp has of its rows: lane l columns l, l + 32, ...
template <int C, int R>
struct PagedSums {
  float at[R][C] = {};
  SoftmaxStats stats[R];

  /// += 32 keys from place `begin` on. `weights`: shared memory, of which a warp uses its own rows.
  __device__ void add(const PagedKernel& p, const PagedTile& tile, int64_t begin, const float* q,
                      const float* k, const float* v, float* weights) {
    using Plan = PagedRowsPlan<C, R>;
    const int lane_id = lane();
    float dots[R] = {};
#pragma unroll 4
    for (int d = 0; d < Plan::kColumns; ++d) {
      const float key = k[lane_id * Plan::kStride + d];
#pragma unroll
      for (int r = 0; r < R; ++r) dots[r] = fmaf(q[Plan::row(r) * Plan::kStride + d], key, dots[r]);
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (Plan::row(r) >= tile.rows) break;
      const int64_t place = tile.place(p, Plan::row(r)), key = begin + lane_id;
      const bool is_visible = PagedTile::sees(p, place, key);
      const float exponent = is_visible ? exponent_of(p, dots[r]) : minus_infinity_of_scores();
      const float max = fmaxf(stats[r].max, warp_reduce(exponent, Max()));
      float weight = 0;
      if (max > minus_infinity_of_scores()) {
        const float factor = exp2f(stats[r].max - max);
        weight = exp2f(exponent - max);
        stats[r] = {max, fmaf(stats[r].total, factor, warp_reduce(weight, Sum()))};
#pragma unroll
        for (float& x : at[r]) x *= factor;
      }
      weights[Plan::row(r) * Plan::kKeys + lane_id] = weight;
    }
    __syncwarp();
#pragma unroll 2
    for (int j = 0; j < Plan::kKeys; ++j) {
      float value[C];
#pragma unroll
      for (int c = 0; c < C; ++c) value[c] = v[j * Plan::kStride + lane_id + c * kWarp];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (Plan::row(r) >= tile.rows) break;
        const float weight = weights[Plan::row(r) * Plan::kKeys + j];
#pragma unroll
        for (int c = 0; c < C; ++c) at[r][c] = fmaf(weight, value[c], at[r][c]);
      }
    }
    __syncwarp();
  }

  /// Puts the next split's sums to these.
  __device__ void merge(const PagedSums& split) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const SplitMerge merge(stats[r], split.stats[r]);
#pragma unroll
      for (int c = 0; c < C; ++c) at[r][c] = merge(at[r][c], split.at[r][c]);
    }
  }

  /// As the sums of a split, or as the result.
  __device__ void store(const PagedKernel& p, const PagedTile& tile) const {
    using Plan = PagedRowsPlan<C, R>;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int row = Plan::row(r);
      if (row >= tile.rows) break;
      const int64_t scratch = tile.scratch_row(p, tile.task.slot, row, Plan::kRows);
      const float inverse = 1 / stats[r].total;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const int column = lane() + c * kWarp;
        if (column >= p.head_dim) continue;
        if (tile.task.split >= 0) {
          p.sums[scratch * p.head_dim + column] = at[r][c];
        } else {
          store_out(p, tile.out_index(p, row) + column, at[r][c] * inverse);
        }
      }
      if (tile.task.split >= 0 && lane() == 0) {
        p.stats[2 * scratch] = stats[r].max;
        p.stats[2 * scratch + 1] = stats[r].total;
      }
    }
  }
};

template <int C, int R>
__global__ void __launch_bounds__(PagedRowsPlan<C, R>::kThreads)
    paged_rows_kernel(PagedKernel p, const PagedTask* tasks) {
  using Plan = PagedRowsPlan<C, R>;
  const PagedTile tile(p, tasks[blockIdx.x], blockIdx.y, Plan::kRows);
  auto* q = shared_memory<float>();
  float *k = q + Plan::kRows * Plan::kStride, *v = k + Plan::kKeys * Plan::kStride,
        *weights = v + Plan::kKeys * Plan::kStride;
  fill_queries<C, R>(p, tile, q);
  const PagedRange<Plan::kKeys> range(p, tile);
  PagedSums<C, R> all, sums;
  for (int64_t begin = range.begin, next; begin < range.end; begin = next) {
    next = range.next(p, tile, begin);
    __syncthreads();
    fill_keys<C, R>(p, tile, begin, k, v);
    __syncthreads();
    sums.add(p, tile, begin, q, k, v, weights);
    if (!range.ends_split(begin, next)) continue;
    all.merge(sums);
    sums = PagedSums<C, R>();
  }
  all.store(p, tile);
}

}  // namespace trireme::ops::cuda
