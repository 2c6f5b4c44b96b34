// Fused attention in fp32 arithmetic for every type and head_dim up to 256 (FlashAttention-2, Dao, arXiv
// 2307.08691). A block owns a tile of 32 rows of one head, each of its four warps eight of them, and walks
// through the tiles of the other side: scores with a lane for each row of the other side, sums with a lane
// for every thirty-second column. The backward pass walks twice, once owning queries and once keys, so that
// every gradient has one owner and no order of atomics enters it.
#include "runtime/ops/cuda/attention/attention.cuh"

#include "runtime/ops/cuda/attention/attention_cudnn.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kTile = 32, kWarps = 4, kThreads = kWarps * kWarp, kRowsAWarp = kTile / kWarps;
constexpr int kWeightStride = kTile + 1;

/// Tiles of 32 rows of up to 32 C columns in shared memory, one bank further each row.
template <int C>
struct Tiles {
  static constexpr int kColumns = C * kWarp, kStride = kColumns + 1, kSize = kTile * kStride;
  static constexpr size_t bytes(int tiles, int weights) {
    return sizeof(float) * static_cast<size_t>(tiles * kSize + weights * kTile * kWeightStride);
  }

  /// tile = rows [begin, begin + 32), zeros beyond the last row and column.
  template <class T>
  __device__ static void fill(const HeadRows<T>& rows, int64_t begin, int64_t head_dim, float* tile) {
    constexpr int kPacksARow = kColumns / kPack;
    for (int p = static_cast<int>(threadIdx.x); p < kTile * kPacksARow; p += kThreads) {
      const int row = p / kPacksARow, column = p % kPacksARow * kPack;
      float x[kPack] = {};
      if (begin + row < rows.rows && column < head_dim) {
        load(rows[begin + row] + column, pack_size(column, head_dim), x);
      }
      for (int j = 0; j < kPack; ++j) tile[row * kStride + column + j] = x[j];
    }
  }

  /// dots[r] = row r of this warp's eight of `own` times the lane's row of `other`.
  __device__ static void multiply(const float* own, const float* other, float (&dots)[kRowsAWarp]) {
    const int lane = static_cast<int>(threadIdx.x % kWarp),
              first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp;
    for (float& dot : dots) dot = 0;
#pragma unroll 4
    for (int d = 0; d < kColumns; ++d) {
      const float x = other[lane * kStride + d];
#pragma unroll
      for (int r = 0; r < kRowsAWarp; ++r) dots[r] += own[(first + r) * kStride + d] * x;
    }
  }
};

/// The eight rows of a warp: lane l holds columns l, l + 32, ...
template <int C>
struct Accumulator {
  float at[kRowsAWarp][C] = {};

  /// += weights[this warp's rows, 32] · tile[32, columns].
  __device__ void add(const float* weights, const float* tile) {
    const int lane = static_cast<int>(threadIdx.x % kWarp),
              first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp;
#pragma unroll 2
    for (int j = 0; j < kTile; ++j) {
      float x[C];
#pragma unroll
      for (int c = 0; c < C; ++c) x[c] = tile[j * Tiles<C>::kStride + lane + c * kWarp];
#pragma unroll
      for (int r = 0; r < kRowsAWarp; ++r) {
        const float w = weights[(first + r) * kWeightStride + j];
#pragma unroll
        for (int c = 0; c < C; ++c) at[r][c] += w * x[c];
      }
    }
  }

  /// Rows of this warp from tile row `begin` on, each times its factor.
  template <class T>
  __device__ void store_rows(const HeadRows<T>& rows, int64_t begin, int64_t head_dim,
                             const float (&factors)[kRowsAWarp]) const {
    const int lane = static_cast<int>(threadIdx.x % kWarp),
              first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp;
#pragma unroll
    for (int r = 0; r < kRowsAWarp; ++r) {
      if (begin + first + r >= rows.rows) continue;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const int column = lane + c * kWarp;
        if (column < head_dim) narrow(at[r][c] * factors[r], rows[begin + first + r][column]);
      }
    }
  }
};

__device__ int own_row(int r) { return static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp + r; }
__device__ int lane() { return static_cast<int>(threadIdx.x % kWarp); }

/// The score of a query and a key from their product.
__device__ float score_of(const KernelShape& s, float product) {
  const float score = product * s.scale;
  return s.soft_cap > 0 ? s.soft_cap * tanhf(score / s.soft_cap) : score;
}

template <class T, int C>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(AttentionInputs<T> in, Heads<T> out, float* lse) {
  using TileOps = Tiles<C>;
  const KernelShape& s = in.shape;
  auto* q = shared_memory<float>();
  float *k = q + TileOps::kSize, *v = k + TileOps::kSize, *weights = v + TileOps::kSize;
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kTile), kTile, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), s.head_dim);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), s.head_dim);
  TileOps::fill(in.q.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, q);

  Accumulator<C> sums;
  float max[kRowsAWarp], total[kRowsAWarp];
  for (int r = 0; r < kRowsAWarp; ++r) max[r] = minus_infinity(), total[r] = 0;
  const KeyTiles<false, kTile> tiles(s, place.batch, place.begin, kTile);
  for (int64_t begin = tiles.first(); tiles.has(begin); begin = tiles.next(begin)) {
    __syncthreads();
    TileOps::fill(keys, begin, s.head_dim, k);
    TileOps::fill(values, begin, s.head_dim, v);
    __syncthreads();
    float scores[kRowsAWarp];
    TileOps::multiply(q, k, scores);
#pragma unroll
    for (int r = 0; r < kRowsAWarp; ++r) {
      const bool is_visible = is_seen(s, place.batch, place.begin + own_row(r), begin + lane());
      const float score = is_visible ? score_of(s, scores[r]) : minus_infinity();
      const float new_max = fmaxf(max[r], warp_reduce(score, Max{}));
      const float p = is_visible ? expf(score - new_max) : 0.0f;
      const float rescale = new_max > max[r] ? expf(max[r] - new_max) : 1.0f;
      max[r] = new_max;
      total[r] = total[r] * rescale + warp_reduce(p, Sum{});
#pragma unroll
      for (int c = 0; c < C; ++c) sums.at[r][c] *= rescale;
      weights[own_row(r) * kWeightStride + lane()] = p;
    }
    __syncwarp();
    sums.add(weights, v);
  }

  float inverse[kRowsAWarp];
  for (int r = 0; r < kRowsAWarp; ++r) {
    inverse[r] = total[r] == 0 ? 0.0f : 1.0f / total[r];
    const int64_t i = place.begin + own_row(r);
    if (lane() == 0 && i < s.q_len) {
      lse[(place.batch * s.num_heads + place.head) * s.q_len + i] =
          total[r] == 0 ? minus_infinity() : max[r] + logf(total[r]);
    }
  }
  sums.store_rows(out.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, inverse);
}

/// delta[b,h,i] = out[b,i,h] · dout[b,i,h]; a warp for each.
template <class T>
__global__ void delta_kernel(KernelShape s, Heads<T> out, Heads<T> dout, float* delta) {
  const int64_t row = int64_t{blockIdx.x} * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (row >= s.batch * s.num_heads * s.q_len) return;
  const int64_t i = row % s.q_len, head = row / s.q_len % s.num_heads, batch = row / s.q_len / s.num_heads;
  const T* a = out.of(batch, head, s.head_dim)[i];
  const T* b = dout.of(batch, head, s.head_dim)[i];
  float sum = 0;
  for (int64_t c = lane(); c < s.head_dim; c += kWarp) sum += widen(a[c]) * widen(b[c]);
  sum = warp_reduce(sum, Sum{});
  if (lane() == 0) delta[row] = sum;
}

/// p of one query and one key and the gradient of their product; zeros where the query does not see the key.
struct ScoreGradient {
  float p = 0, ds = 0;
  __device__ ScoreGradient(const KernelShape& s, bool is_visible, float product, float dp, float lse,
                           float delta) {
    if (!is_visible || lse == minus_infinity()) return;
    const float score = score_of(s, product);
    p = expf(score - lse);
    ds = p * (dp - delta) * s.scale;
    if (s.soft_cap > 0) ds *= 1.0f - (score / s.soft_cap) * (score / s.soft_cap);
  }
};

template <class T, int C>
__global__ void __launch_bounds__(kThreads, 2) dq_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using TileOps = Tiles<C>;
  const KernelShape& s = in.shape;
  auto* q = shared_memory<float>();
  float *dout = q + TileOps::kSize, *k = dout + TileOps::kSize, *v = k + TileOps::kSize;
  float* ds = v + TileOps::kSize;
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kTile), kTile, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), s.head_dim);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), s.head_dim);
  TileOps::fill(in.q.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, q);
  TileOps::fill(g.dout.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, dout);
  const int64_t rows = (place.batch * s.num_heads + place.head) * s.q_len + place.begin;

  Accumulator<C> dq;
  const KeyTiles<false, kTile> tiles(s, place.batch, place.begin, kTile);
  for (int64_t begin = tiles.first(); tiles.has(begin); begin = tiles.next(begin)) {
    __syncthreads();
    TileOps::fill(keys, begin, s.head_dim, k);
    TileOps::fill(values, begin, s.head_dim, v);
    __syncthreads();
    float scores[kRowsAWarp], dp[kRowsAWarp];
    TileOps::multiply(q, k, scores);
    TileOps::multiply(dout, v, dp);
#pragma unroll
    for (int r = 0; r < kRowsAWarp; ++r) {
      const int row = own_row(r);
      const bool is_row = place.begin + row < s.q_len;
      const ScoreGradient gradient(s, is_seen(s, place.batch, place.begin + row, begin + lane()), scores[r],
                                   dp[r], is_row ? g.lse[rows + row] : 0.0f,
                                   is_row ? g.delta[rows + row] : 0.0f);
      ds[row * kWeightStride + lane()] = gradient.ds;
    }
    __syncwarp();
    dq.add(ds, k);
  }
  float ones[kRowsAWarp];
  for (float& one : ones) one = 1.0f;
  dq.store_rows(g.dq.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, ones);
}

template <class T, int C>
__global__ void __launch_bounds__(kThreads, 2) dkv_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using TileOps = Tiles<C>;
  const KernelShape& s = in.shape;
  auto* k = shared_memory<float>();
  float *v = k + TileOps::kSize, *q = v + TileOps::kSize, *dout = q + TileOps::kSize;
  float *p = dout + TileOps::kSize, *ds = p + kTile * kWeightStride;
  const TilePlace place(s.batch, s.num_kv_heads, ceil_div(s.kv_len, kTile), kTile, false);
  TileOps::fill(in.k.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, k);
  TileOps::fill(in.v.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, v);

  Accumulator<C> dk, dv;
  const int64_t group = s.num_heads / s.num_kv_heads;
  QueryTiles<false, kTile> tiles(s, place.batch, place.begin, kTile);
  tiles.range.begin = tiles.range.begin / kTile * kTile;
  for (int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    for (int64_t begin = tiles.first(); tiles.has(begin); begin = tiles.next(begin)) {
      __syncthreads();
      TileOps::fill(in.q.of(place.batch, head, s.head_dim), begin, s.head_dim, q);
      TileOps::fill(g.dout.of(place.batch, head, s.head_dim), begin, s.head_dim, dout);
      __syncthreads();
      float scores[kRowsAWarp], dp[kRowsAWarp];
      TileOps::multiply(k, q, scores);
      TileOps::multiply(v, dout, dp);
      const int64_t i = begin + lane(), row = (place.batch * s.num_heads + head) * s.q_len + i;
      const float lse = i < s.q_len ? g.lse[row] : 0.0f, delta = i < s.q_len ? g.delta[row] : 0.0f;
#pragma unroll
      for (int r = 0; r < kRowsAWarp; ++r) {
        const ScoreGradient gradient(s, is_seen(s, place.batch, i, place.begin + own_row(r)), scores[r],
                                     dp[r], lse, delta);
        p[own_row(r) * kWeightStride + lane()] = gradient.p;
        ds[own_row(r) * kWeightStride + lane()] = gradient.ds;
      }
      __syncwarp();
      dv.add(p, dout);
      dk.add(ds, q);
    }
  }
  float ones[kRowsAWarp];
  for (float& one : ones) one = 1.0f;
  dk.store_rows(g.dk.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, ones);
  dv.store_rows(g.dv.of(place.batch, place.head, s.head_dim), place.begin, s.head_dim, ones);
}

/// Calls body with the number of columns a lane takes care of.
template <class Body>
void with_columns_a_lane(const char* op, int64_t head_dim, Body&& body) {
  TRIREME_CHECK(head_dim <= 256, "{}: head_dim is {}, CUDA kernels support up to 256", op, head_dim);
  if (head_dim <= 32) return body(std::integral_constant<int, 1>());
  if (head_dim <= 64) return body(std::integral_constant<int, 2>());
  if (head_dim <= 128) return body(std::integral_constant<int, 4>());
  body(std::integral_constant<int, 8>());
}

unsigned num_tiles(int64_t heads, int64_t len) { return static_cast<unsigned>(heads * ceil_div(len, kTile)); }

}  // namespace

void attention(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
               const Tensor& out, const Tensor& lse) {
  if (attention_by_cudnn(ctx, s, q, k, v, out, lse)) return;
  if (attention_on_tensor_cores(ctx, s, q, k, v, out, lse)) return;
  with_compute_type(out.dtype(), [&]<class T>(T) {
    with_columns_a_lane("attention", s.head_dim, [&]<int C>(std::integral_constant<int, C>) {
      launch(ctx, forward_kernel<T, C>, num_tiles(s.batch * s.num_heads, s.q_len), kThreads,
             Tiles<C>::bytes(3, 1), AttentionInputs<T>(s, q, k, v), Heads<T>(out, s.q_len),
             lse.data<float>());
    });
  });
}

void attention_backward(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                        const Columns& dq, const Columns& dk, const Columns& dv) {
  if (attention_backward_by_cudnn(ctx, s, q, k, v, out, lse, dout, dq, dk, dv)) return;
  const Tensor delta = Tensor::empty(ctx, lse.shape(), DType::f32, MemoryCategory::buffers);
  with_compute_type(out.dtype(), [&]<class T>(T) {
    launch(ctx, delta_kernel<T>, static_cast<unsigned>(ceil_div(lse.numel(), kWarps)), kThreads, 0,
           KernelShape(s), Heads<T>(out, s.q_len), Heads<T>(dout, s.q_len), delta.data<float>());
  });
  if (attention_backward_on_tensor_cores(ctx, s, q, k, v, lse, delta, dout, dq, dk, dv)) return;
  with_compute_type(out.dtype(), [&]<class T>(T) {
    const AttentionInputs<T> in(s, q, k, v);
    const AttentionGradients<T> gradients(s, dout, dq, dk, dv, lse, delta);
    with_columns_a_lane("attention_backward", s.head_dim, [&]<int C>(std::integral_constant<int, C>) {
      launch(ctx, dq_kernel<T, C>, num_tiles(s.batch * s.num_heads, s.q_len), kThreads, Tiles<C>::bytes(4, 1),
             in, gradients);
      launch(ctx, dkv_kernel<T, C>, num_tiles(s.batch * s.num_kv_heads, s.kv_len), kThreads,
             Tiles<C>::bytes(4, 2), in, gradients);
    });
  });
}

}  // namespace trireme::ops::cuda
