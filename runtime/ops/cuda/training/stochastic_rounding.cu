#include "runtime/ops/cuda/training/stochastic_rounding.cuh"

namespace trireme::ops::cuda {

namespace {

struct Round {
  const float* x;
  bf16* y;
  const double* number;
  int64_t first;  // of the elements of this launch
  RoundingRanges ranges;

  __device__ void operator()(int64_t offset, int count) const {
    const int64_t i = first + offset;
    float value[kPack];
    load(x + i, count, value);
    ranges.round(i, count, static_cast<uint64_t>(*number), value);
    store(y + i, count, value);
  }
};

}  // namespace

void round_stochastically(Context& ctx, const Tensor& x, const Tensor& number,
                          std::span<const ElementRange> ranges, const Tensor& y) {
  for_each_launch(ranges, x.numel(), [&](int64_t first, int64_t end, const RoundingRanges& some) {
    launch_elementwise(ctx, end - first,
                       Round{x.data<float>(), y.data<bf16>(), number.data<double>(), first, some});
  });
}

}  // namespace trireme::ops::cuda
