// The same products in fp32 arithmetic, for x in fp32 and for floats of another type than x. A lane has two
// outputs and four inputs of each step, as on tensor cores (packed_layout.h), and eight rows.
#pragma once

#include "runtime/ops/cuda/packed/packed_product.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

inline constexpr int kExactRows = 8;

/// Number e of pair p of a step as what it stands for.
template <class Codes>
__device__ float weight_of(const Codes& codes, const LaneScales& s, bool has_minima, int step, int p, int e) {
  const float number = codes.number(step, p, e);
  if (!Codes::kIsInteger) return number;
  const float product = s.scale[p % 2] * (number - s.zero[p % 2]);
  return has_minima ? product + s.min[p % 2] : product;
}

/// Eight rows and one tile a block, each warp a part of the inputs.
template <class T, class Codes>
__global__ void __launch_bounds__(kProductThreads, 2) exact_kernel(ProductOperands<T> p, RowGroups groups) {
  const PackedLayout& l = p.layout;
  const RowGroup group = groups.at[blockIdx.z];
  const int64_t first_row = int64_t{blockIdx.y} * kExactRows, tile = blockIdx.x;
  if (first_row >= group.rows) return;
  const int lane = lane_in_warp(), g = lane / 4, t = lane % 4, part = static_cast<int>(threadIdx.x / kWarp);
  float sums[2][kExactRows] = {};
  for_units<Codes>(l, p.tile(group.matrix, tile), p.first_unit(part), p.first_unit(part + 1),
                   [&](int64_t unit, const Codes& codes, const UnitScales& scales) {
#pragma unroll
                     for (int step = 0; step < 4; ++step) {
                       const LaneScales s = Codes::kIsInteger ? scales.of(l, step) : LaneScales{};
                       float w[4][2];
#pragma unroll
                       for (int pair = 0; pair < 4; ++pair) {
#pragma unroll
                         for (int e = 0; e < 2; ++e)
                           w[pair][e] = weight_of(codes, s, l.has_minima, step, pair, e);
                       }
#pragma unroll
                       for (int r = 0; r < kExactRows; ++r) {
                         if (first_row + r >= group.rows) break;
                         T x[4];
                         p.load(group.first + first_row + r, unit * kUnitInputs + step * kStepInputs + 4 * t,
                                x);
#pragma unroll
                         for (int i = 0; i < 4; ++i) {
#pragma unroll
                           for (int o = 0; o < 2; ++o)
                             sums[o][r] = fmaf(widen(x[i]), w[i / 2 * 2 + o][i % 2], sums[o][r]);
                         }
                       }
                     }
                   });
  auto* const parts = shared_memory<float>();  // [part][row][output]
#pragma unroll
  for (int r = 0; r < kExactRows; ++r) {
#pragma unroll
    for (int o = 0; o < 2; ++o) {
      float sum = sums[o][r];
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      if (t == 0) parts[(part * kExactRows + r) * kTileOutputs + g + 8 * o] = sum;
    }
  }
  __syncthreads();
  const auto i = static_cast<int>(threadIdx.x);
  const int64_t row = first_row + i / kTileOutputs, output = tile * kTileOutputs + i % kTileOutputs;
  if (i >= kExactRows * kTileOutputs || row >= group.rows || output >= l.outputs) return;
  float sum = 0;
  for (int q = 0; q < kParts; ++q) sum += parts[q * kExactRows * kTileOutputs + i];
  p.store(group.first + row, output, sum);
}

template <class T, class Codes>
void multiply_exactly(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups) {
  launch(ctx, exact_kernel<T, Codes>,
         dim3(static_cast<unsigned>(p.layout.tiles),
              static_cast<unsigned>(ceil_div(groups.most_rows, kExactRows)),
              static_cast<unsigned>(groups.count)),
         kProductThreads, sizeof(float) * kParts * kExactRows * kTileOutputs, p, groups);
}

}  // namespace trireme::ops::cuda
