// Fused attention on tensor cores, for bf16 and fp16 with heads of 64 or 128. As in attention.cu a block owns
// a tile of one head, here of 64 rows, each of its four warps sixteen; scores and probabilities never leave
// the registers, where the sums of one product are the left factor of the next.
#include "runtime/ops/cuda/attention.cuh"
#include "runtime/ops/cuda/mma.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kTile = 64, kWarps = 4, kThreads = kWarps * kWarp, kRowsAWarp = 16;

/// Rows of D columns in shared memory, 16 bytes apart from a multiple of all banks: rows of a tile of mma.cuh
/// lie in different banks.
template <int D>
struct SharedTile {
  static constexpr int kStride = D + 8, kSize = kTile * kStride;

  /// tile = rows [begin, begin + 64), zeros beyond the last.
  template <class T>
  __device__ static void fill(const HeadRows<T>& rows, int64_t begin, T* tile) {
    constexpr int kVectorsARow = D / 8;
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kVectorsARow; i += kThreads) {
      const int row = i / kVectorsARow, column = i % kVectorsARow * 8;
      uint4 vector{0, 0, 0, 0};
      if (begin + row < rows.rows) vector = *reinterpret_cast<const uint4*>(rows[begin + row] + column);
      *reinterpret_cast<uint4*>(tile + row * kStride + column) = vector;
    }
  }
};

/// Sixteen rows of D columns, as sums.
template <int D>
struct Rows {
  TileSums tiles[D / 8];

  /// += weights[16,16] · rows [first, first + 16) of the tile.
  template <class T>
  __device__ void add(const TileA& weights, const T* tile, int first) {
    constexpr int kStride = SharedTile<D>::kStride;
#pragma unroll
    for (int c = 0; c < D / 8; ++c) {
      multiply_add(tiles[c], weights, load_b_of_columns(tile + first * kStride + c * 8, kStride), T{});
    }
  }

  /// The warp's rows from row `begin` on; upper and lower are the factors of rows g and g + 8.
  template <class T>
  __device__ void store_rows(const HeadRows<T>& rows, int64_t begin, float upper, float lower) const {
    const int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = begin + g + 8 * half;
      const float factor = half == 0 ? upper : lower;
      if (row >= rows.rows) continue;
#pragma unroll
      for (int c = 0; c < D / 8; ++c) {
        *reinterpret_cast<unsigned*>(rows[row] + c * 8 + 2 * t) =
            pair_of<T>(tiles[c].at[2 * half] * factor, tiles[c].at[2 * half + 1] * factor);
      }
    }
  }
};

/// Rows [first_a, +16) of a times rows [first_b, +8 N) of b: N neighbouring tiles of scores.
template <int D, int N, class T>
__device__ void multiply_rows(const T* a, int first_a, const T* b, int first_b, TileSums (&scores)[N]) {
  constexpr int kStride = SharedTile<D>::kStride;
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    const TileA left = load_a(a + first_a * kStride + d, kStride);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      multiply_add(scores[n], left, load_b_of_rows(b + (first_b + 8 * n) * kStride + d, kStride), T{});
    }
  }
}

/// How many of the tile's keys from `begin` on query `i` sees.
__device__ int visible_in_tile(const AttentionShape& s, int64_t i, int64_t begin) {
  const int64_t n = visible_keys(s, i) - begin;
  return static_cast<int>(n < 0 ? 0 : n < kTile ? n : kTile);
}

/// Over the four lanes that share a row.
__device__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ float row_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Of the two rows that a lane has a part in: the largest score so far and the sum of exponents relative to
/// it.
struct Softmax {
  float max[2], total[2] = {0, 0};

  __device__ Softmax() { max[0] = max[1] = minus_infinity(); }

  /// Turns scores into exponents, where column 8 n + 2t (+ 1) is visible in row `half` if below
  /// visible[half]; factors receives what earlier sums are to be multiplied by.
  template <int N>
  __device__ void update(TileSums (&scores)[N], const int (&visible)[2], float scale, float (&factors)[2]) {
    const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = minus_infinity();
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n].at[2 * half + i];
          score = 8 * n + 2 * t + i < visible[half] ? score * scale : minus_infinity();
          largest = fmaxf(largest, score);
        }
      }
      const float new_max = fmaxf(max[half], row_max(largest));
      const float base = new_max == minus_infinity() ? 0.0f : new_max;
      factors[half] = expf(max[half] - base);
      max[half] = new_max;
      float sum = 0;
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n].at[2 * half + i];
          score = expf(score - base);
          sum += score;
        }
      }
      total[half] = total[half] * factors[half] + row_sum(sum);
    }
  }
};

template <class T, int D>
__global__ void __launch_bounds__(kThreads) forward_kernel(AttentionInputs<T> in, Heads<T> out, float* lse) {
  using Tile = SharedTile<D>;
  const AttentionShape& s = in.shape;
  T* q = shared_memory<T>();
  T *k = q + Tile::kSize, *v = k + Tile::kSize;
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kTile), kTile, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), s.head_dim);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), s.head_dim);
  Tile::fill(in.q.of(place.batch, place.head, s.head_dim), place.begin, q);
  const int first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp;
  const int64_t upper =
      place.begin + first + threadIdx.x % kWarp / 4;  // this lane's rows: upper and upper + 8

  Rows<D> sums;
  Softmax softmax;
  const int64_t num_keys = visible_keys_of(s, place.begin, kTile);
  for (int64_t begin = 0; begin < num_keys; begin += kTile) {
    __syncthreads();
    Tile::fill(keys, begin, k);
    Tile::fill(values, begin, v);
    __syncthreads();
    TileSums scores[kTile / 8];
    multiply_rows<D>(q, first, k, 0, scores);
    const int visible[2] = {visible_in_tile(s, upper, begin), visible_in_tile(s, upper + 8, begin)};
    float factors[2];
    softmax.update(scores, visible, s.scale, factors);
#pragma unroll
    for (auto& tile : sums.tiles) {
      tile.at[0] *= factors[0], tile.at[1] *= factors[0];
      tile.at[2] *= factors[1], tile.at[3] *= factors[1];
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; n += 2) sums.add(as_a<T>(scores[n], scores[n + 1]), v, 8 * n);
  }

  float inverse[2];
  for (int half = 0; half < 2; ++half) {
    const bool is_blind = softmax.total[half] == 0;
    inverse[half] = is_blind ? 0.0f : 1.0f / softmax.total[half];
    const int64_t i = upper + 8 * half;
    if (threadIdx.x % 4 == 0 && i < s.q_len) {
      lse[(place.batch * s.num_heads + place.head) * s.q_len + i] =
          is_blind ? minus_infinity() : softmax.max[half] + logf(softmax.total[half]);
    }
  }
  sums.store_rows(out.of(place.batch, place.head, s.head_dim), place.begin + first, inverse[0], inverse[1]);
}

/// scores becomes p, and dp the gradient of the scaled scores; zeros where the query does not see the key.
__device__ void differentiate(float& score, float& dp, bool is_visible, float lse, float delta, float scale) {
  const bool counts = is_visible && lse != minus_infinity();
  score = counts ? expf(score * scale - lse) : 0.0f;
  dp = counts ? score * (dp - delta) * scale : 0.0f;
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 2) dq_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using Tile = SharedTile<D>;
  const AttentionShape& s = in.shape;
  T* q = shared_memory<T>();
  T *dout = q + Tile::kSize, *k = dout + Tile::kSize, *v = k + Tile::kSize;
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kTile), kTile, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), s.head_dim);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), s.head_dim);
  Tile::fill(in.q.of(place.batch, place.head, s.head_dim), place.begin, q);
  Tile::fill(g.dout.of(place.batch, place.head, s.head_dim), place.begin, dout);
  const int first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp, t = static_cast<int>(threadIdx.x % 4);
  const int64_t upper = place.begin + first + threadIdx.x % kWarp / 4;
  float lse[2], delta[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t i = upper + 8 * half, row = (place.batch * s.num_heads + place.head) * s.q_len + i;
    lse[half] = i < s.q_len ? g.lse[row] : minus_infinity();
    delta[half] = i < s.q_len ? g.delta[row] : 0.0f;
  }

  Rows<D> dq;
  const int64_t num_keys = visible_keys_of(s, place.begin, kTile);
  for (int64_t begin = 0; begin < num_keys; begin += kTile) {
    __syncthreads();
    Tile::fill(keys, begin, k);
    Tile::fill(values, begin, v);
    __syncthreads();
    const int visible[2] = {visible_in_tile(s, upper, begin), visible_in_tile(s, upper + 8, begin)};
#pragma unroll 1
    for (int key = 0; key < kTile; key += 16) {
      TileSums scores[2], dp[2];
      multiply_rows<D>(q, first, k, key, scores);
      multiply_rows<D>(dout, first, v, key, dp);
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const int n = e / 4, at = e % 4, half = at / 2;
        differentiate(scores[n].at[at], dp[n].at[at], key + 8 * n + 2 * t + at % 2 < visible[half], lse[half],
                      delta[half], s.scale);
      }
      dq.add(as_a<T>(dp[0], dp[1]), k, key);
    }
  }
  dq.store_rows(g.dq.of(place.batch, place.head, s.head_dim), place.begin + first, 1.0f, 1.0f);
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 2) dkv_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using Tile = SharedTile<D>;
  const AttentionShape& s = in.shape;
  T* k = shared_memory<T>();
  T *v = k + Tile::kSize, *q = v + Tile::kSize, *dout = q + Tile::kSize;
  const TilePlace place(s.batch, s.num_kv_heads, ceil_div(s.kv_len, kTile), kTile, false);
  Tile::fill(in.k.of(place.batch, place.head, s.head_dim), place.begin, k);
  Tile::fill(in.v.of(place.batch, place.head, s.head_dim), place.begin, v);
  const int first = static_cast<int>(threadIdx.x / kWarp) * kRowsAWarp, t = static_cast<int>(threadIdx.x % 4);
  const int64_t upper = place.begin + first + threadIdx.x % kWarp / 4;

  Rows<D> dk, dv;
  const int64_t group = s.num_heads / s.num_kv_heads;
  const int64_t first_query = first_query_of(s, place.begin) / kTile * kTile;
  for (int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    const int64_t rows = (place.batch * s.num_heads + head) * s.q_len;
    for (int64_t begin = first_query; begin < s.q_len; begin += kTile) {
      __syncthreads();
      Tile::fill(in.q.of(place.batch, head, s.head_dim), begin, q);
      Tile::fill(g.dout.of(place.batch, head, s.head_dim), begin, dout);
      __syncthreads();
#pragma unroll 1
      for (int query = 0; query < kTile; query += 16) {
        TileSums scores[2], dp[2];
        multiply_rows<D>(k, first, q, query, scores);
        multiply_rows<D>(v, first, dout, query, dp);
#pragma unroll
        for (int column = 0; column < 4; ++column) {
          const int n = column / 2, at = column % 2;
          const int64_t i = begin + query + 8 * n + 2 * t + at, visible = visible_keys(s, i);
          const float lse = i < s.q_len ? g.lse[rows + i] : minus_infinity();
          const float delta = i < s.q_len ? g.delta[rows + i] : 0.0f;
          differentiate(scores[n].at[at], dp[n].at[at], upper < visible, lse, delta, s.scale);
          differentiate(scores[n].at[2 + at], dp[n].at[2 + at], upper + 8 < visible, lse, delta, s.scale);
        }
        dv.add(as_a<T>(scores[0], scores[1]), dout, query);
        dk.add(as_a<T>(dp[0], dp[1]), q, query);
      }
    }
  }
  dk.store_rows(g.dk.of(place.batch, place.head, s.head_dim), place.begin + first, 1.0f, 1.0f);
  dv.store_rows(g.dv.of(place.batch, place.head, s.head_dim), place.begin + first, 1.0f, 1.0f);
}

/// Vectors of 16 bytes reach every row.
bool is_in_vectors(const Columns& c) {
  return c.stride() % 8 == 0 &&
         (reinterpret_cast<uintptr_t>(c.matrix.raw()) / 2 + static_cast<uint64_t>(c.begin)) % 8 == 0;
}

template <class... Matrices>
bool is_served(const AttentionShape& s, DType dtype, const Matrices&... matrices) {
  return dtype != DType::f32 && (s.head_dim == 64 || s.head_dim == 128) && (is_in_vectors(matrices) && ...);
}

/// Calls body(T{}, integral_constant of D).
template <class Body>
void with_types(DType dtype, int64_t head_dim, Body&& body) {
  const auto with_dim = [&]<class T>(T type) {
    if (head_dim == 64) return body(type, std::integral_constant<int, 64>());
    body(type, std::integral_constant<int, 128>());
  };
  if (dtype == DType::bf16) return with_dim(bf16{});
  with_dim(fp16{});
}

unsigned num_tiles(int64_t heads, int64_t len) { return static_cast<unsigned>(heads * ceil_div(len, kTile)); }

}  // namespace

bool attention_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                               const Columns& v, const Tensor& out, const Tensor& lse) {
  if (!is_served(s, out.dtype(), q, k, v, Columns{out, 0, out.dim(1)})) return false;
  with_types(out.dtype(), s.head_dim, [&]<class T, int D>(T, std::integral_constant<int, D>) {
    launch(ctx, forward_kernel<T, D>, num_tiles(s.batch * s.num_heads, s.q_len), kThreads,
           3 * SharedTile<D>::kSize * sizeof(T), AttentionInputs<T>(s, q, k, v), Heads<T>(out, s.q_len),
           lse.data<float>());
  });
  return true;
}

bool attention_backward_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q,
                                        const Columns& k, const Columns& v, const Tensor& lse,
                                        const Tensor& delta, const Tensor& dout, const Columns& dq,
                                        const Columns& dk, const Columns& dv) {
  if (!is_served(s, dout.dtype(), q, k, v, Columns{dout, 0, dout.dim(1)}, dq, dk, dv)) return false;
  with_types(dout.dtype(), s.head_dim, [&]<class T, int D>(T, std::integral_constant<int, D>) {
    const AttentionInputs<T> in(s, q, k, v);
    const AttentionGradients<T> gradients(s, dout, dq, dk, dv, lse, delta);
    launch(ctx, dq_kernel<T, D>, num_tiles(s.batch * s.num_heads, s.q_len), kThreads,
           4 * SharedTile<D>::kSize * sizeof(T), in, gradients);
    launch(ctx, dkv_kernel<T, D>, num_tiles(s.batch * s.num_kv_heads, s.kv_len), kThreads,
           4 * SharedTile<D>::kSize * sizeof(T), in, gradients);
  });
  return true;
}

}  // namespace trireme::ops::cuda
