// y = x w^T with packed weights. Whatever the number of rows, an element of y is the same sums in the same
// order: the units of its inputs fall into kParts parts; within a part the products of a group of inputs are
// added up first and then, times the scale, to the part's sum; the parts' sums follow each other.
#pragma once

#include "runtime/ops/cuda/packed/packed_codes.cuh"
#include "runtime/ops/cuda/packed/packed_operands.cuh"
#include "runtime/ops/cuda/packed/packed_scales.cuh"

namespace trireme::ops::cuda {

/// Sums of sixteen outputs and 8 N rows: output g or g + 8, row 2t or 2t + 1 of each eight.
template <int N>
struct RowsOfSums {
  TileSums at[N];
};

/// sums += this unit's products. rows(step, n) is what a lane holds of step's right factor.
template <class T, int N, class Codes, class Rows>
__device__ void multiply_unit(RowsOfSums<N>& sums, const PackedLayout& l, const Codes& codes,
                              const UnitScales& scales, const Rows& rows) {
  if constexpr (!Codes::kIsInteger) {
    const float zero[2] = {};
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const TileA a = codes.tile(step, zero, T{});
#pragma unroll
      for (int n = 0; n < N; ++n) multiply_add(sums.at[n], a, rows(step, n), T{});
    }
  } else {
    const TileA ones = [] {
      const unsigned one = pair_of<T>(1, 1);
      return TileA{{one, one, one, one}};
    }();
#pragma unroll
    for (int first = 0; first < 4; first += Codes::kStepsAGroup) {
      const LaneScales s = scales.of(l, first);
      TileA a[Codes::kStepsAGroup];
#pragma unroll
      for (int i = 0; i < Codes::kStepsAGroup; ++i) a[i] = codes.tile(first + i, s.zero, T{});
#pragma unroll
      for (int n = 0; n < N; ++n) {
        TileSums group;
#pragma unroll
        for (int i = 0; i < Codes::kStepsAGroup; ++i) multiply_add(group, a[i], rows(first + i, n), T{});
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.at[n].at[e] = fmaf(s.scale[e / 2], group.at[e], sums.at[n].at[e]);
        if (!l.has_minima) continue;
        TileSums of_rows;  // every row of it: the sums of x
#pragma unroll
        for (int i = 0; i < Codes::kStepsAGroup; ++i) multiply_add(of_rows, ones, rows(first + i, n), T{});
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.at[n].at[e] = fmaf(s.min[e / 2], of_rows.at[e], sums.at[n].at[e]);
      }
    }
  }
}

/// Units [begin, end) of a tile, kAhead of them on their way: use(unit, codes, scales).
template <class Codes, int kAhead = Codes::kAhead, class Use>
__device__ void for_units(const PackedLayout& l, const std::byte* tile, int64_t begin, int64_t end,
                          const Use& use) {
  const int lane = lane_in_warp();
  Codes codes[kAhead];
  UnitScales scales[kAhead];
  const auto load = [&](int slot, int64_t unit) {
    codes[slot].load(tile + unit * l.unit_bytes, lane);
    scales[slot].load(l, tile, unit, lane / 4);
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (begin + i < end) load(i, begin + i);
  }
  for (int64_t unit = begin; unit < end; unit += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (unit + i >= end) break;
      use(unit + i, codes[i], scales[i]);
      if (unit + i + kAhead < end) load(i, unit + i + kAhead);
    }
  }
}

}  // namespace trireme::ops::cuda
