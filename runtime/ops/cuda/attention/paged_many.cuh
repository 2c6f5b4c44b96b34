// Many rows of queries of a sequence: a block has 64, a warp sixteen of them, whose scores and powers stay in
// its registers.
#pragma once

#include "runtime/ops/cuda/attention/paged_tiles.cuh"

namespace trireme::ops::cuda {

template <class T, int D>
struct PagedManyPlan {
  static constexpr int kRows = kTileWarps * 16;
  static constexpr size_t kBytes =
      SharedRows<T, D>::bytes(kRows + 2 * kPagedKeys) + 2 * kPagedKeys * sizeof(float);
};

/// Of a warp's rows g and g + 8: softmax over the keys of a split so far, and sums of their values.
template <class T, int D>
struct PagedWarpSums {
  RowSums<T, D, 1> values;
  float max[2] = {minus_infinity(), minus_infinity()}, totals[kQuarters][2] = {};

  /// Scores of a tile become powers, sums so far follow the largest exponent.
  __device__ void add_scores(const PagedKernel& p, const PagedVisibility& seen, int64_t begin,
                             const float* key_scales, TileSums (&scores)[1][kPagedKeys / 8]) {
    float factors[1][2];
    const PagedMasks masks(p, seen, begin);
#pragma unroll
    for (int q = 0; q < kQuarters; ++q) {
      make_exponents(p, masks, 16 * q, key_scales == nullptr ? nullptr : key_scales + 16 * q,
                     &scores[0][2 * q]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = max[half];
#pragma unroll
      for (int q = 0; q < kQuarters; ++q) largest = fmaxf(largest, quarter_max(&scores[0][2 * q], half));
      factors[0][half] = growth_factor(max[half], largest);
      max[half] = largest;
#pragma unroll
      for (int q = 0; q < kQuarters; ++q) {
        totals[q][half] =
            fmaf(totals[q][half], factors[0][half], make_powers(&scores[0][2 * q], half, largest));
      }
    }
    values.scale(factors);
  }
  __device__ SoftmaxStats stats(int half) const {
    float total = 0;
#pragma unroll
    for (int q = 0; q < kQuarters; ++q) total += sum_of_lanes(totals[q][half]);
    return {max[half], total};
  }
  /// Puts a whole split to the sums over those before, and begins the next.
  __device__ void end_split(PagedWarpSums& split, SoftmaxStats (&all)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const SplitMerge merge(all[half], split.stats(half));
#pragma unroll
      for (int c = 0; c < D / 8; ++c) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          values.at[0][c].at[e] = merge(values.at[0][c].at[e], split.values.at[0][c].at[e]);
        }
      }
    }
    split = PagedWarpSums();
  }
};

template <class T, int D>
__device__ void store_rows_of_warp(const PagedKernel& p, const PagedTile& tile, int first_row,
                                   const RowSums<T, D, 1>& values, const SoftmaxStats (&stats)[2]) {
  constexpr int kRows = PagedManyPlan<T, D>::kRows;
  const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + g + 8 * half;
    const float inverse = 1 / stats[half].total;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      const TileSums& sums = values.at[0][c];
      store_pair<T>(p, tile, row, kRows, 8 * c + 2 * t, sums.at[2 * half], sums.at[2 * half + 1], inverse);
    }
    if (t == 0) store_stats(p, tile, row, kRows, stats[half]);
  }
}

template <class T, int D, bool kInt8>
__global__ void __launch_bounds__(kTileThreads, 2) paged_many_kernel(PagedKernel p, const PagedTask* tasks) {
  using Plan = PagedManyPlan<T, D>;
  const PagedTile tile(p, tasks[blockIdx.x], blockIdx.y, Plan::kRows);
  const SharedRows<T, D> q{shared_memory<T>()};
  const SharedRows<T, D> of_keys = q.behind(Plan::kRows), of_values = of_keys.behind(kPagedKeys);
  auto* const scales = reinterpret_cast<float*>(of_values.behind(kPagedKeys).data);
  const PagedRowsInShared<T, D, kInt8> keys{of_keys, scales}, values{of_values, scales + kPagedKeys};
  const int first_row = first_row_of_warp<1>();
  const RowsInShared<T, D, 1> queries{q.behind(first_row)};
  const PagedVisibility seen(p, tile, first_row);
  const PagedRange<kPagedKeys> range(p, tile);

  fill_paged_queries<T, D, Plan::kRows>(p, tile, q);
  if (range.begin < range.end) keys.fetch(p, tile, range.begin, p.keys, p.key_scales);
  commit_copies();
  PagedWarpSums<T, D> all, split;
  SoftmaxStats stats[2];
  for (int64_t begin = range.begin, next; begin < range.end; begin = next) {
    next = range.next(p, tile, begin);
    wait_for_copies();
    __syncthreads();  // the keys are there, and no warp reads the values before any more
    values.fetch(p, tile, begin, p.values, p.value_scales);
    commit_copies();
    TileSums scores[1][kPagedKeys / 8];
    multiply_rows(queries, keys.rows, scores);
    split.add_scores(p, seen, begin, kInt8 ? keys.scales : nullptr, scores);
    wait_for_copies();
    __syncthreads();  // the values are there, and no warp reads the keys any more
    if (next < range.end) keys.fetch(p, tile, next, p.keys, p.key_scales);
    commit_copies();
    if (kInt8) {
#pragma unroll
      for (int quarter = 0; quarter < kQuarters; ++quarter) {
        scale_powers(values.scales + 16 * quarter, &scores[0][2 * quarter]);
      }
    }
    split.values.add(scores, values.rows);
    if (range.ends_split(begin, next)) all.end_split(split, stats);
  }
  store_rows_of_warp<T, D>(p, tile, first_row, all.values, stats);
}

}  // namespace trireme::ops::cuda
