#include "runtime/ops/attention/attention_merge.h"

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kWarps = 8;

/// A warp joins one head of one query.
template <class T>
struct Merge {
  const T* part;
  const float* part_lse;
  float *out, *lse;
  int64_t batch, heads, len, first, n, head_dim;  // n queries in part, len in out
};

template <class T>
__global__ void merge_kernel(Merge<T> m) {
  const int64_t place = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (place >= m.batch * m.n * m.heads) return;
  const int64_t head = place % m.heads, i = place / m.heads % m.n, b = place / m.heads / m.n;
  float* whole = m.lse + (b * m.heads + head) * m.len + m.first + i;
  const float before = *whole, added = m.part_lse[(b * m.heads + head) * m.n + i];
  const float top = fmaxf(before, added);
  if (top == __uint_as_float(0xff800000u)) return;
  const float joined = top + logf(expf(before - top) + expf(added - top));
  const float keep = expf(before - joined), weight = expf(added - joined);
  __syncwarp();
  const unsigned lane = threadIdx.x % kWarp;
  if (lane == 0) *whole = joined;
  const T* from = m.part + ((b * m.n + i) * m.heads + head) * m.head_dim;
  float* to = m.out + ((b * m.len + m.first + i) * m.heads + head) * m.head_dim;
  for (int64_t c = int64_t{lane} * kPack; c < m.head_dim; c += int64_t{kWarp} * kPack) {
    const int count = pack_size(c, m.head_dim);
    float x[kPack], y[kPack];
    load(to + c, count, x);
    load(from + c, count, y);
    for (int j = 0; j < kPack; ++j) x[j] = x[j] * keep + y[j] * weight;
    store(to + c, count, x);
  }
}

}  // namespace

void merge_attention(Context& ctx, const Tensor& part, const Tensor& part_lse, int64_t first,
                     const Tensor& out, const Tensor& lse) {
  const int64_t batch = lse.dim(0), heads = lse.dim(1), n = part_lse.dim(2);
  with_compute_type(part.dtype(), [&]<class T>(T) {
    launch(ctx, merge_kernel<T>, static_cast<unsigned>(ceil_div(batch * n * heads, kWarps)), kWarps * kWarp,
           0,
           Merge<T>{part.data<T>(), part_lse.data<float>(), out.data<float>(), lse.data<float>(), batch,
                    heads, lse.dim(2), first, n, out.dim(1) / heads});
  });
}

}  // namespace trireme::ops::cuda
