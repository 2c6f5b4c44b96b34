// Few rows of queries of a sequence, as in decoding: a block has up to sixteen, the heads of a group that
// share keys. Each warp has a quarter of a tile's keys, and then a quarter of the columns of the values;
// maxima and powers go from one to the other through shared memory.
#pragma once

#include "runtime/ops/cuda/attention/paged_tiles.cuh"

namespace trireme::ops::cuda {

template <class T, int D>
struct PagedFewPlan {
  static constexpr int kRows = 16, kColumnTiles = D / 8 / kTileWarps;
  static constexpr int kPowerStride = kPagedKeys + 8;  // as SharedRows: eight rows in different banks
  static constexpr size_t kBytes = SharedRows<T, D>::bytes(kRows + 2 * kPagedKeys) +
                                   kRows * kPowerStride * sizeof(T) +
                                   (kTileWarps * kRows + 2 * kPagedKeys) * sizeof(float);
};

/// A number of each warp and row.
struct WarpsByRows {
  float* data;
  __device__ float& at(int warp, int row) const { return data[warp * 16 + row]; }
};

/// += powers[16, 64] · this warp's columns of the values.
template <class T, int D>
__device__ void add_values(const T* powers, const SharedRows<T, D>& values, int first_column,
                           TileSums (&sums)[PagedFewPlan<T, D>::kColumnTiles]) {
#pragma unroll
  for (int n = 0; n < kQuarters; ++n) {
    const TileA a = load_a(powers + 16 * n, PagedFewPlan<T, D>::kPowerStride);
#pragma unroll
    for (int c = 0; c < PagedFewPlan<T, D>::kColumnTiles; c += 2) {
      const TilesB b = load_b_of_columns(values.row(16 * n) + first_column + 8 * c, values.kStride);
      multiply_add(sums[c], a, b.left, T{});
      multiply_add(sums[c + 1], a, b.right, T{});
    }
  }
}

/// Shared memory of a block, and what a thread has of its sums: rows g and g + 8, this warp's columns.
template <class T, int D, bool kInt8>
struct PagedFew {
  using Plan = PagedFewPlan<T, D>;
  static constexpr int N = Plan::kColumnTiles;

  SharedRows<T, D> q;
  PagedRowsInShared<T, D, kInt8> keys, values;
  T* powers;
  WarpsByRows exchanged;
  int warp = static_cast<int>(threadIdx.x / kWarp), g = lane_in_warp() / 4, t = lane_in_warp() % 4;

  TileSums all[N], sums[N];
  SoftmaxStats stats[2];
  float max[2] = {minus_infinity(), minus_infinity()}, totals[2] = {};

  __device__ PagedFew() {
    q.data = shared_memory<T>();
    keys.rows = q.behind(Plan::kRows);
    values.rows = keys.rows.behind(kPagedKeys);
    powers = values.rows.behind(kPagedKeys).data;
    exchanged.data = reinterpret_cast<float*>(powers + Plan::kRows * Plan::kPowerStride);
    keys.scales = exchanged.data + kTileWarps * Plan::kRows;
    values.scales = keys.scales + kPagedKeys;
  }
  __device__ int row(int half) const { return g + 8 * half; }
  __device__ int first_column() const { return warp * N * 8; }

  /// Exponents of this warp's sixteen keys of the tile from `begin` on, and their maxima for the others.
  __device__ void score(const PagedKernel& p, const PagedVisibility& seen, int64_t begin,
                        TileSums (&scores)[1][2]) const {
    multiply_rows(RowsInShared<T, D, 1>{q}, keys.rows.behind(16 * warp), scores);
    make_exponents(p, PagedMasks(p, seen, begin), 16 * warp, kInt8 ? keys.scales + 16 * warp : nullptr,
                   scores[0]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float largest = quarter_max(scores[0], half);
      if (t == 0) exchanged.at(warp, row(half)) = largest;
    }
  }

  /// Once all maxima are there: sums so far follow them, and exponents become powers for all warps.
  __device__ void weigh(TileSums (&scores)[1][2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = max[half];
#pragma unroll
      for (int w = 0; w < kTileWarps; ++w) largest = fmaxf(largest, exchanged.at(w, row(half)));
      const float factor = growth_factor(max[half], largest);
      max[half] = largest;
      totals[half] = fmaf(totals[half], factor, make_powers(scores[0], half, largest));
#pragma unroll
      for (TileSums& tile : sums) {
        tile.at[2 * half] *= factor;
        tile.at[2 * half + 1] *= factor;
      }
    }
    if (kInt8) scale_powers(values.scales + 16 * warp, scores[0]);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        T* const to = powers + row(half) * Plan::kPowerStride + 16 * warp + 8 * n + 2 * t;
        *reinterpret_cast<unsigned*>(to) =
            pair_of<T>(scores[0][n].at[2 * half], scores[0][n].at[2 * half + 1]);
      }
    }
  }

  /// Puts a whole split to the sums over those before, and begins the next.
  __device__ void end_split() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = sum_of_lanes(totals[half]);
      if (t == 0) exchanged.at(warp, row(half)) = total;
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kTileWarps; ++w) total += exchanged.at(w, row(half));
      const SplitMerge merge(stats[half], {max[half], total});
#pragma unroll
      for (int c = 0; c < N; ++c) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          all[c].at[e] = merge(all[c].at[e], sums[c].at[e]);
          sums[c].at[e] = 0;
        }
      }
      max[half] = minus_infinity();
      totals[half] = 0;
    }
  }

  __device__ void store(const PagedKernel& p, const PagedTile& tile) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float inverse = 1 / stats[half].total;
#pragma unroll
      for (int c = 0; c < N; ++c) {
        store_pair<T>(p, tile, row(half), Plan::kRows, first_column() + 8 * c + 2 * t, all[c].at[2 * half],
                      all[c].at[2 * half + 1], inverse);
      }
      if (warp == 0 && t == 0) store_stats(p, tile, row(half), Plan::kRows, stats[half]);
    }
  }
};

template <class T, int D, bool kInt8>
__global__ void __launch_bounds__(kTileThreads) paged_few_kernel(PagedKernel p, const PagedTask* tasks) {
  using Plan = PagedFewPlan<T, D>;
  const PagedTile tile(p, tasks[blockIdx.x], blockIdx.y, Plan::kRows);
  const PagedVisibility seen(p, tile, 0);
  const PagedRange<kPagedKeys> range(p, tile);
  PagedFew<T, D, kInt8> block;
  fill_paged_queries<T, D, Plan::kRows>(p, tile, block.q);
  if (range.begin < range.end) block.keys.fetch(p, tile, range.begin, p.keys, p.key_scales);
  commit_copies();
  for (int64_t begin = range.begin, next; begin < range.end; begin = next) {
    next = range.next(p, tile, begin);
    wait_for_copies();
    __syncthreads();  // the keys are there, and no warp reads values or powers before any more
    block.values.fetch(p, tile, begin, p.values, p.value_scales);
    commit_copies();
    TileSums scores[1][2];
    block.score(p, seen, begin, scores);
    wait_for_copies();
    __syncthreads();  // values and maxima are there, and no warp reads the keys any more
    if (next < range.end) block.keys.fetch(p, tile, next, p.keys, p.key_scales);
    commit_copies();
    block.weigh(scores);
    __syncthreads();  // the powers are there, and no warp reads the maxima any more
    add_values<T, D>(block.powers, block.values.rows, block.first_column(), block.sums);
    if (range.ends_split(begin, next)) block.end_split();
  }
  block.store(p, tile);
}

}  // namespace trireme::ops::cuda
