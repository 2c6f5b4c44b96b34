#include "runtime/ops/permute.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

namespace {

struct Invert {
  const int32_t* slots;
  int64_t num_rows;
  int32_t* choices;
  __device__ void operator()(int64_t i, int count) const {
    for (int j = 0; j < count; ++j) {
      if (slots[i + j] < 0) continue;
      expect_index(slots[i + j], num_rows);
      choices[slots[i + j]] = static_cast<int32_t>(i + j);
    }
  }
};

/// Which of the choices [N,k] names each of the rows; negative: none. With it rows fetch what they hold, so
/// that each is written once, by one block.
Tensor choices_of_rows(Context& ctx, const Tensor& slots, int64_t num_rows) {
  const Tensor choices = Tensor::empty(ctx, {num_rows}, DType::i32, MemoryCategory::buffers);
  if (num_rows == 0) return choices;
  trireme::cuda::check(cudaMemsetAsync(choices.raw(), 0xff, static_cast<size_t>(choices.bytes()),
                                       trireme::cuda::raw_stream(ctx.stream())),
                       "cudaMemsetAsync");
  launch_elementwise(ctx, slots.numel(), Invert{slots.data<int32_t>(), num_rows, choices.data<int32_t>()});
  return choices;
}

template <class T>
struct Permute {
  const T* x;
  const int32_t* choices;
  int64_t k, width;
  T* out;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float values[kPack] = {};
    const int64_t choice = choices[row];
    if (choice >= 0) load(x + choice / k * width + column, count, values);
    store(out + row * width + column, count, values);
  }
};

template <class T>
struct Combine {
  const T* y;
  const int32_t* slots;
  const float* gates;  // may be null
  int64_t num_rows, k, width;
  T* out;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float sum[kPack] = {};
    for (int64_t i = row * k; i < (row + 1) * k; ++i) {
      if (slots[i] < 0) continue;
      expect_index(slots[i], num_rows);
      float values[kPack];
      load(y + slots[i] * width + column, count, values);
      const float gate = gates != nullptr ? gates[i] : 1.0f;
      for (int j = 0; j < kPack; ++j) sum[j] = fmaf(gate, values[j], sum[j]);
    }
    store(out + row * width + column, count, sum);
  }
};

constexpr int64_t kMostThreads = 256;

/// A block a row of y. dy may be y: a thread writes a pack only after it has read it.
template <class T>
__global__ void combine_backward_kernel(const T* y, const int32_t* choices, int64_t num_rows, int64_t k,
                                        int64_t width, const float* gates, const T* dout, T* dy,
                                        float* dgates) {
  auto* scratch = shared_memory<float>();
  for (int64_t row = blockIdx.x; row < num_rows; row += gridDim.x) {
    const int64_t choice = choices[row];
    const float gate = choice >= 0 ? gates[choice] : 0.0f;
    float product = 0;
    for (int64_t c = int64_t{threadIdx.x} * kPack; c < width; c += int64_t{blockDim.x} * kPack) {
      const int count = pack_size(c, width);
      float gradient[kPack] = {}, values[kPack];
      if (choice >= 0) {
        load(dout + choice / k * width + c, count, gradient);
        load(y + row * width + c, count, values);
        for (int j = 0; j < kPack; ++j) {
          product = fmaf(gradient[j], values[j], product);
          gradient[j] *= gate;
        }
      }
      store(dy + row * width + c, count, gradient);
    }
    product = block_reduce(product, Sum{}, scratch);
    if (choice >= 0 && threadIdx.x == 0) dgates[choice] = product;
  }
}

}  // namespace

void permute_rows(Context& ctx, const Tensor& x, const Tensor& slots, const Tensor& out) {
  const Tensor choices = choices_of_rows(ctx, slots, out.dim(0));
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_rows(ctx, out.dim(0), out.dim(1),
                Permute<T>{x.data<T>(), choices.data<int32_t>(), slots.dim(1), out.dim(1), out.data<T>()});
  });
}

void combine_rows(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                  const Tensor& out) {
  with_compute_type(out.dtype(), [&]<class T>(T) {
    launch_rows(ctx, out.dim(0), out.dim(1),
                Combine<T>{y.data<T>(), slots.data<int32_t>(), data_or_null<float>(gates), y.dim(0),
                           slots.dim(1), out.dim(1), out.data<T>()});
  });
}

void combine_rows_backward(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                           const Tensor& dout, const Tensor& dy, const Tensor& dgates) {
  const int64_t rows = dy.dim(0), width = dy.dim(1);
  const Tensor choices = choices_of_rows(ctx, slots, rows);
  cuda::fill(ctx, dgates, 0.0);  // what is dropped has no row
  const unsigned threads = row_threads(ceil_div(width, kPack), kMostThreads);
  with_compute_type(dout.dtype(), [&]<class T>(T) {
    launch(ctx, combine_backward_kernel<T>, num_blocks(rows), threads, threads / kWarp * sizeof(float),
           y.data<T>(), choices.data<int32_t>(), rows, slots.dim(1), width, gates.data<float>(),
           dout.data<T>(), dy.data<T>(), dgates.data<float>());
  });
}

}  // namespace trireme::ops::cuda
