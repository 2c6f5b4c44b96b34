// Where a block's elements lie in the flattened global tensor.
#pragma once

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

/// Elements of the block follow each other in the global tensor in runs of `run` elements, as long as can be.
struct BlockPlace {
  int num_outer = 0;  // dims that count the runs
  int64_t extents[Shape::kMaxRank] = {}, strides[Shape::kMaxRank] = {};
  int64_t first = 0, run = 1;

  BlockPlace() = default;
  BlockPlace(const Shape& block, const Shape& global, const Shape& offset) : num_outer(block.rank()) {
    int64_t stride = 1;
    bool is_contiguous = true;
    for (int i = block.rank() - 1; i >= 0; --i) {
      extents[i] = block[i];
      strides[i] = stride;
      first += offset[i] * stride;
      stride *= global[i];
      if (!is_contiguous) continue;
      run *= block[i];
      num_outer = i;
      is_contiguous = block[i] == global[i];
    }
  }
  /// The global element that is the block's `element`; `left` = elements of its run from it on.
  __device__ int64_t operator()(int64_t element, int64_t& left) const {
    int64_t outer = element / run;
    const int64_t within = element - outer * run;
    left = run - within;
    int64_t at = first + within;
    for (int i = num_outer - 1; i >= 0; --i) {
      at += outer % extents[i] * strides[i];
      outer /= extents[i];
    }
    return at;
  }
};

}  // namespace trireme::ops::cuda
