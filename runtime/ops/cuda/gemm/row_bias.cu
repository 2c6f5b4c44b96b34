#include "runtime/ops/cuda/gemm/row_bias.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

namespace {

template <class T>
struct AddRow {
  const T* bias;  // or null
  T* c;
  int64_t stride;
  bool accumulate;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float x[kPack] = {}, b[kPack] = {};
    if (accumulate) load(c + row * stride + column, count, x);
    if (bias != nullptr) load(bias + column, count, b);
    for (int j = 0; j < kPack; ++j) x[j] += b[j];
    store(c + row * stride + column, count, x);
  }
};

}  // namespace

Tensor in_type(Context& ctx, const Tensor& bias, DType dtype) {
  if (!bias || dtype == DType::f32) return bias;
  const Tensor rounded = Tensor::empty(ctx, bias.shape(), dtype, MemoryCategory::buffers);
  cuda::copy(ctx, bias, rounded);
  return rounded;
}

void add_bias_alone(Context& ctx, bool accumulate, const Tensor& bias, const Columns& c) {
  if (accumulate && !bias) return;
  with_compute_type(c.dtype(), [&]<class T>(T) {
    launch_rows(ctx, c.rows(), c.count,
                AddRow<T>{data_or_null<T>(bias), c.data<T>(), c.stride(), accumulate});
  });
}

}  // namespace trireme::ops::cuda
