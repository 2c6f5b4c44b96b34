#include "runtime/ops/cuda/row_bias.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

namespace {

template <class T>
struct AddRow {
  const T* bias;
  T* c;
  int64_t width;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float x[kPack], b[kPack];
    load(c + row * width + column, count, x);
    load(bias + column, count, b);
    for (int j = 0; j < kPack; ++j) x[j] += b[j];
    store(c + row * width + column, count, x);
  }
};

}  // namespace

Tensor in_type_of(Context& ctx, const Tensor& bias, const Tensor& c) {
  if (!bias || c.dtype() == DType::f32) return bias;
  const Tensor rounded = Tensor::empty(ctx, bias.shape(), c.dtype(), MemoryCategory::buffers);
  cuda::copy(ctx, bias, rounded);
  return rounded;
}

void add_bias_alone(Context& ctx, bool accumulate, const Tensor& bias, const Tensor& c) {
  if (!accumulate) cuda::fill(ctx, c, 0.0);
  if (!bias) return;
  with_compute_type(c.dtype(), [&]<class T>(T) {
    launch_rows(ctx, c.dim(0), c.dim(1), AddRow<T>{bias.data<T>(), c.data<T>(), c.dim(1)});
  });
}

}  // namespace trireme::ops::cuda
