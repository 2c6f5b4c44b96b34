// Products for many rows, where what counts is that a weight made ready serves them all.
#pragma once

#include "runtime/ops/cuda/async_copy.cuh"
#include "runtime/ops/cuda/packed/packed_few.cuh"

namespace trireme::ops::cuda {

/// Rows of x in shared memory, a unit of inputs each, so far apart that the eight rows of a right factor are
/// in different banks.
template <class T>
struct SharedUnit {
  static constexpr int kRows = 64, kStride = kUnitInputs + 16;
  static constexpr size_t kBytes = sizeof(T) * kRows * kStride;
  T* data;

  /// Rows [first, first + kRows) of the group, zeros beyond the last; asked for, or there at once.
  __device__ void fetch(const ProductOperands<T>& p, const RowGroup& group, int64_t first,
                        int64_t unit) const {
    constexpr int kVectors = kUnitInputs / 8;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += kProductThreads) {
      const int64_t row = first + i / kVectors, input = unit * kUnitInputs + i % kVectors * 8;
      T* const to = data + i / kVectors * kStride + i % kVectors * 8;
      const T* const from = p.x + (group.first + row) * p.layout.inputs + input;
      const bool is_there = row < group.rows && input < p.layout.inputs;
      if (p.x_in_vectors) {
        copy_async<16>(to, is_there ? from : p.x, is_there);
        continue;
      }
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        to[e] = is_there && input + e < p.layout.inputs ? from[e] : narrowed<T>(0.0f);
      }
    }
  }
  __device__ TileB rows(int step, int n) const {
    const int lane = lane_in_warp();
    const auto two = *reinterpret_cast<const TwoWords*>(data + (8 * n + lane / 4) * kStride +
                                                        step * kStepInputs + lane % 4 * 4);
    return {{two.at[0], two.at[1]}};
  }
};

/// 64 rows and eight tiles a block, a warp each.
template <class T, class Codes>
__global__ void __launch_bounds__(kProductThreads, 1)
    many_rows_kernel(ProductOperands<T> p, RowGroups groups) {
  using Unit = SharedUnit<T>;
  constexpr int N = Unit::kRows / 8;
  const PackedLayout& l = p.layout;
  const RowGroup group = groups.at[blockIdx.z];
  const int64_t first_row = int64_t{blockIdx.x} * Unit::kRows;
  if (first_row >= group.rows) return;
  const int lane = lane_in_warp(), g = lane / 4, t = lane % 4;
  const int64_t tile = int64_t{blockIdx.y} * kParts + threadIdx.x / kWarp;
  // A warp beyond the last tile helps to fetch x.
  const std::byte* const weights = p.tile(group.matrix, tile < l.tiles ? tile : l.tiles - 1);
  const Unit stages[2] = {{shared_memory<T>()}, {shared_memory<T>() + Unit::kRows * Unit::kStride}};
  RowsOfSums<N> total, sums;
  int part = 0;
  const auto end_part = [&] {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        total.at[n].at[e] += sums.at[n].at[e];
        sums.at[n].at[e] = 0;
      }
    }
    ++part;
  };
  stages[0].fetch(p, group, first_row, 0);
  commit_copies();
  for_units<Codes>(l, weights, 0, l.units, [&](int64_t unit, const Codes& codes, const UnitScales& scales) {
    wait_for_copies();
    __syncthreads();  // the unit is there, and no warp reads the other stage any more
    if (unit + 1 < l.units) stages[(unit + 1) % 2].fetch(p, group, first_row, unit + 1);
    commit_copies();
    while (unit == p.first_unit(part + 1)) end_part();
    const Unit& here = stages[unit % 2];
    multiply_unit<T>(sums, l, codes, scales, [&](int step, int n) { return here.rows(step, n); });
  });
  while (part < kParts) end_part();
  if (tile >= l.tiles) return;
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t row = first_row + 8 * n + 2 * t + e % 2, output = tile * kTileOutputs + g + e / 2 * 8;
      if (row < group.rows && output < l.outputs) p.store(group.first + row, output, total.at[n].at[e]);
    }
  }
}

/// Starts the kernel that suits the groups' numbers of rows.
template <class T, class Codes>
void multiply_packed(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups) {
  const auto tiles = static_cast<unsigned>(p.layout.tiles), z = static_cast<unsigned>(groups.count);
  const auto few = [&]<int N>(std::integral_constant<int, N>) {
    launch(ctx, few_rows_kernel<T, Codes, N>,
           dim3(tiles, static_cast<unsigned>(ceil_div(groups.most_rows, 8 * N)), z), kProductThreads,
           sizeof(float) * kParts * 8 * N * kTileOutputs, p, groups);
  };
  if (groups.most_rows <= 8) return few(std::integral_constant<int, 1>());
  if (groups.most_rows <= 32) return few(std::integral_constant<int, 4>());
  launch(ctx, many_rows_kernel<T, Codes>,
         dim3(static_cast<unsigned>(ceil_div(groups.most_rows, SharedUnit<T>::kRows)),
              static_cast<unsigned>(ceil_div(p.layout.tiles, kParts)), z),
         kProductThreads, 2 * SharedUnit<T>::kBytes, p, groups);
}

}  // namespace trireme::ops::cuda
