// Products for few rows, where what counts is that weights are read once.
#pragma once

#include "runtime/ops/cuda/packed/packed_product.cuh"

namespace trireme::ops::cuda {

/// 8 N rows and one tile a block, each warp a part of the inputs.
template <class T, class Codes, int N>
__global__ void __launch_bounds__(kProductThreads, 2)
    few_rows_kernel(ProductOperands<T> p, RowGroups groups) {
  const PackedLayout& l = p.layout;
  const RowGroup group = groups.at[blockIdx.z];
  const int64_t first_row = int64_t{blockIdx.y} * 8 * N, tile = blockIdx.x;
  if (first_row >= group.rows) return;
  const int lane = lane_in_warp(), g = lane / 4, t = lane % 4, part = static_cast<int>(threadIdx.x / kWarp);
  RowsOfSums<N> sums;
  constexpr int kAhead = N == 1 || Codes::kAhead == 1 ? Codes::kAhead : Codes::kAhead / 2;  // registers
  for_units<Codes, kAhead>(
      l, p.tile(group.matrix, tile), p.first_unit(part), p.first_unit(part + 1),
      [&](int64_t unit, const Codes& codes, const UnitScales& scales) {
        const auto rows = [&](int step, int n) {
          T x[4] = {};
          const int64_t row = first_row + 8 * n + g;
          if (row < group.rows) {
            p.load(group.first + row, unit * kUnitInputs + step * kStepInputs + 4 * t, x);
          }
          return TileB{{x[0].bits | static_cast<unsigned>(x[1].bits) << 16,
                        x[2].bits | static_cast<unsigned>(x[3].bits) << 16}};
        };
        TileB loaded[4][N];
#pragma unroll
        for (int step = 0; step < 4; ++step) {
#pragma unroll
          for (int n = 0; n < N; ++n) loaded[step][n] = rows(step, n);
        }
        multiply_unit<T>(sums, l, codes, scales, [&](int step, int n) { return loaded[step][n]; });
      });
  auto* const parts = shared_memory<float>();  // [part][row][output]
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      parts[((part * N + n) * 8 + 2 * t + e % 2) * kTileOutputs + g + e / 2 * 8] = sums.at[n].at[e];
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 8 * N * kTileOutputs; i += kProductThreads) {
    const int64_t row = first_row + i / kTileOutputs, output = tile * kTileOutputs + i % kTileOutputs;
    if (row >= group.rows || output >= l.outputs) continue;
    float sum = 0;
    for (int q = 0; q < kParts; ++q) sum += parts[q * 8 * N * kTileOutputs + i];
    p.store(group.first + row, output, sum);
  }
}

}  // namespace trireme::ops::cuda
