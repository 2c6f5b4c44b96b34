// Compiled without contraction to fused multiply-adds (cmake/targets.cmake), as the CPU body: the same bits.
#include "runtime/ops/random.h"

#include "runtime/base/philox.h"
#include "runtime/ops/cuda/block_place.cuh"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

struct FillNormal {
  float* t;
  BlockPlace place;
  uint64_t key;
  float mean, std;

  // Initialisation alone: a counter's four numbers are made for each element.
  __device__ void operator()(int64_t i, int count) const {
    int64_t g = 0, left = 0;
    for (int j = 0; j < count; ++j, ++g, --left) {
      if (left == 0) g = place(i + j, left);
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
