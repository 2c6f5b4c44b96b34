// Compiled without contraction to fused multiply-adds (cmake/targets.cmake), as the CPU body: the same bits.
#include "runtime/ops/random.h"

#include "runtime/base/philox.h"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

/// Where a block's elements lie in the flattened global tensor.
struct BlockPlace {
  int rank;
  int64_t extents[Shape::kMaxRank], strides[Shape::kMaxRank];
  int64_t first = 0;

  BlockPlace(const Shape& block, const Shape& global, const Shape& offset) : rank(block.rank()) {
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      extents[i] = block[i];
      strides[i] = stride;
      first += offset[i] * stride;
      stride *= global[i];
    }
  }
  __device__ int64_t operator()(int64_t element) const {
    int64_t at = first;
    for (int i = rank - 1; i >= 0; --i) {
      at += element % extents[i] * strides[i];
      element /= extents[i];
    }
    return at;
  }
};

struct FillNormal {
  float* t;
  BlockPlace place;
  uint64_t key;
  float mean, std;

  // Initialisation alone: a counter's four numbers are made for each element.
  __device__ void operator()(int64_t i, int count) const {
    for (int j = 0; j < count; ++j) {
      const int64_t g = place(i + j);
      const auto numbers = philox_normal4(key, static_cast<uint64_t>(g / 4), 0);
      t[i + j] = mean + std * numbers[static_cast<size_t>(g % 4)];
    }
  }
};

}  // namespace

void fill_normal(Context& ctx, const Tensor& t, uint64_t seed, std::string_view name, const Shape& global,
                 const Shape& offset, float mean, float std) {
  launch_elementwise(
      ctx, t.numel(),
      FillNormal{t.data<float>(), {t.shape(), global, offset}, stream_key(seed, name), mean, std});
}

}  // namespace trireme::ops::cuda
