// RMSNorm of heads: a group of lanes, a power of two of them and no more than a head has packs, works on a
// head, so that a warp has several heads of usual size.
#include "runtime/ops/head_norm.h"

#include "runtime/ops/cuda/column_sums.cuh"
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int64_t kMostBlocks = 512, kLeastHeadsABlock = 64;

/// Heads in the columns of a matrix, counted through all rows.
template <class T>
struct HeadsOf {
  T* first;
  int64_t stride, heads_a_row, dim;

  HeadsOf(const Columns& c, int64_t head_dim)
      : first(c.data<T>()), stride(c.stride()), heads_a_row(c.count / head_dim), dim(head_dim) {}
  __device__ T* operator[](int64_t i) const {
    return first + i / heads_a_row * stride + i % heads_a_row * dim;
  }
};

/// This thread's place among the groups of `lanes` lanes of its block.
struct Group {
  int lanes, place, number, count;

  __device__ explicit Group(int lanes_a_head)
      : lanes(lanes_a_head),
        place(static_cast<int>(threadIdx.x) % lanes),
        number(static_cast<int>(threadIdx.x) / lanes),
        count(static_cast<int>(blockDim.x) / lanes) {}

  /// The same on all lanes of the group. Every lane of the warp calls it.
  __device__ float sum(float x) const {
    for (int mask = lanes / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(kAllLanes, x, mask);
    return x;
  }
  /// Calls body(column, count) for this lane's packs of a head.
  template <class Body>
  __device__ void for_packs(int64_t dim, const Body& body) const {
    for (int64_t c = int64_t{place} * kPack; c < dim; c += int64_t{lanes} * kPack) body(c, pack_size(c, dim));
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(HeadsOf<T> x, HeadsOf<T> y, const float* gain, float eps, int64_t num_heads, int lanes,
                   float* rstd) {
  const Group group(lanes);
  for (int64_t begin = int64_t{blockIdx.x} * group.count; begin < num_heads;
       begin += int64_t{gridDim.x} * group.count) {
    const int64_t head = begin + group.number;
    const int64_t dim = head < num_heads ? x.dim : 0;
    float squares = 0;
    group.for_packs(dim, [&](int64_t c, int count) {
      float values[kPack];
      load(x[head] + c, count, values);
      for (const float value : values) squares += value * value;
    });
    const float scale = 1.0f / sqrtf(group.sum(squares) / static_cast<float>(x.dim) + eps);
    group.for_packs(dim, [&](int64_t c, int count) {
      float values[kPack], gains[kPack];
      load(x[head] + c, count, values);
      load(gain + c, count, gains);
      for (int j = 0; j < kPack; ++j) values[j] *= scale * gains[j];
      store(y[head] + c, count, values);
    });
    if (head < num_heads && group.place == 0) rstd[head] = scale;
  }
}

/// The formula of the CPU body. A block walks through `heads_a_block` heads, each group through every
/// so-manieth; the groups' sums for dgain stay in shared memory, each column with one lane, and are added in
/// order to partials[block].
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(HeadsOf<T> dy, HeadsOf<T> x, HeadsOf<T> dx, const float* gain, const float* rstd,
                    int64_t num_heads, int64_t heads_a_block, int lanes, float* partials) {
  const Group group(lanes);
  auto* all_sums = shared_memory<float>();
  float* sums = all_sums + group.number * x.dim;
  group.for_packs(x.dim, [&](int64_t c, int count) {
    for (int j = 0; j < count; ++j) sums[c + j] = 0;
  });
  const int64_t first = blockIdx.x * heads_a_block;
  const int64_t end = first + heads_a_block < num_heads ? first + heads_a_block : num_heads;
  for (int64_t begin = first; begin < end; begin += group.count) {
    const int64_t head = begin + group.number;
    const int64_t dim = head < end ? x.dim : 0;
    const float scale = head < end ? rstd[head] : 0.0f;
    float mean = 0;
    group.for_packs(dim, [&](int64_t c, int count) {
      float values[kPack], d[kPack], gains[kPack];
      load(x[head] + c, count, values);
      load(dy[head] + c, count, d);
      load(gain + c, count, gains);
      for (int j = 0; j < count; ++j) {
        const float h = values[j] * scale;
        mean += d[j] * gains[j] * h;
        sums[c + j] += d[j] * h;
      }
    });
    mean = group.sum(mean) / static_cast<float>(x.dim);
    group.for_packs(dim, [&](int64_t c, int count) {
      float values[kPack], d[kPack], gains[kPack];
      load(x[head] + c, count, values);
      load(dy[head] + c, count, d);
      load(gain + c, count, gains);
      for (int j = 0; j < kPack; ++j) d[j] = scale * (d[j] * gains[j] - values[j] * scale * mean);
      store(dx[head] + c, count, d);
    });
  }
  __syncthreads();
  for (int64_t c = threadIdx.x; c < x.dim; c += blockDim.x) {
    float total = 0;
    for (int g = 0; g < group.count; ++g) total += all_sums[g * x.dim + c];
    partials[blockIdx.x * x.dim + c] = total;
  }
}

int lanes_a_head(int64_t dim) {
  int lanes = 1;
  while (lanes < kWarp && lanes * kPack < dim) lanes *= 2;
  return lanes;
}

}  // namespace

void rms_norm_heads(Context& ctx, const Columns& x, const Tensor& gain, float eps, const Columns& y,
                    const Tensor& rstd) {
  const int64_t dim = gain.numel();
  const int lanes = lanes_a_head(dim);
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch(ctx, forward_kernel<T>, num_blocks(ceil_div(rstd.numel(), kThreads / lanes)), kThreads, 0,
           HeadsOf<T>(x, dim), HeadsOf<T>(y, dim), gain.data<float>(), eps, rstd.numel(), lanes,
           rstd.data<float>());
  });
}

void rms_norm_heads_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                             const Tensor& rstd, const Columns& dx, const Tensor& dgain) {
  const int64_t dim = gain.numel(), num_heads = rstd.numel();
  if (num_heads == 0) return;
  // Depends on the number of heads alone.
  const int64_t wanted = ceil_div(num_heads, kMostBlocks);
  const int64_t heads_a_block = wanted > kLeastHeadsABlock ? wanted : kLeastHeadsABlock;
  const int64_t blocks = ceil_div(num_heads, heads_a_block);
  const int lanes = lanes_a_head(dim);
  const Tensor partials = Tensor::empty(ctx, {blocks, dim}, DType::f32, MemoryCategory::buffers);
  const auto shared = static_cast<size_t>(kThreads / lanes * dim) * sizeof(float);
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch(ctx, backward_kernel<T>, static_cast<unsigned>(blocks), kThreads, shared, HeadsOf<T>(dy, dim),
           HeadsOf<T>(x, dim), HeadsOf<T>(dx, dim), gain.data<float>(), rstd.data<float>(), num_heads,
           heads_a_block, lanes, partials.data<float>());
  });
  add_column_sums_of(ctx, partials.data<float>(), blocks, dim, dim, dgain.data<float>());
}

}  // namespace trireme::ops::cuda
