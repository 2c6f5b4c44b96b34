// Fused attention forward on tensor cores (FlashAttention-2, Dao, arXiv 2307.08691). A block owns a tile of
// queries of one head, each warp some of its rows; scores and probabilities never leave the registers, where
// the sums of one product are the left factor of the next. While a tile's keys are multiplied its values
// are on their way, and while its values are, the next tile's keys.
#include "runtime/ops/cuda/attention/attention_tiles.cuh"

namespace trireme::ops::cuda {

namespace {

template <int D>
struct ForwardPlan {
  static constexpr int kRowTiles = 2, kQueries = kTileWarps * 16 * kRowTiles, kKeys = D <= 80 ? 64 : 32;
  static constexpr bool kQueriesInRegisters = D <= 64;
  template <class T>
  static constexpr size_t shared_bytes() {
    return SharedRows<T, D>::bytes(kQueries + 2 * kKeys);
  }
};

/// Over the four lanes that share a row.
__device__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ float row_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Of the rows that a lane has a part in: the largest score so far, and this lane's part of the sum of
/// exponents relative to it. Exponents are powers of two.
template <int M>
struct Softmax {
  float scale, max[M][2], total[M][2] = {};  // scale turns scores into exponents of two

  __device__ explicit Softmax(float scale_of_scores) : scale(scale_of_scores * kLog2E) {
#pragma unroll
    for (auto& tile : max) tile[0] = tile[1] = minus_infinity();
  }

  /// What is subtracted from a row's exponents; 0 as long as it has seen no key.
  __device__ float base(int m, int half) const {
    return max[m][half] == minus_infinity() ? 0.0f : max[m][half] * scale;
  }

  /// Turns scores into powers; factors receives what earlier sums are to be multiplied by.
  template <int N>
  __device__ void update(TileSums (&scores)[M][N], float (&factors)[M][2]) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = max[m][half];
#pragma unroll
        for (const TileSums& tile : scores[m]) {
          largest = fmaxf(largest, fmaxf(tile.at[2 * half], tile.at[2 * half + 1]));
        }
        const float before = max[m][half];
        max[m][half] = row_max(largest);
        const float subtrahend = base(m, half);
        factors[m][half] = fast_exp2(fmaf(before, scale, -subtrahend));
        float sum = 0;
#pragma unroll
        for (TileSums& tile : scores[m]) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            tile.at[e] = fast_exp2(fmaf(tile.at[e], scale, -subtrahend));
            sum += tile.at[e];
          }
        }
        total[m][half] = total[m][half] * factors[m][half] + sum;
      }
    }
  }

  /// At the end: lse of the rows from `first` on, in nats, and what turns sums into means.
  __device__ void finish(float* lse, int64_t first, int64_t q_len, float (&inverse)[M][2]) const {
    const int g = lane_in_warp() / 4, t = lane_in_warp() % 4;
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float sum = row_sum(total[m][half]);
        inverse[m][half] = sum == 0 ? 0.0f : 1.0f / sum;
        const int64_t i = first + 16 * m + g + 8 * half;
        if (t == 0 && i < q_len) lse[i] = sum == 0 ? minus_infinity() : (base(m, half) + log2f(sum)) * kLn2;
      }
    }
  }
};

template <class T, int D, bool kPlain>
__global__ void __launch_bounds__(kTileThreads, 2)
    forward_kernel(AttentionInputs<T> in, Heads<T> out, float* lse) {
  using Plan = ForwardPlan<D>;
  constexpr int M = Plan::kRowTiles, kQueries = Plan::kQueries, kKeys = Plan::kKeys;
  const KernelShape& s = in.shape;
  const SharedRows<T, D> q{shared_memory<T>()}, k = q.behind(kQueries), v = k.behind(kKeys);
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kQueries), kQueries, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), D);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), D);
  const KeyTiles<kPlain, kKeys> tiles(s, place.batch, place.begin, kQueries);
  int64_t begin = tiles.first();
  const int first = first_row_of_warp<M>();

  q.template fetch<kQueries>(in.q.of(place.batch, place.head, D), place.begin);
  commit_copies();
  if (tiles.has(begin)) k.template fetch<kKeys>(keys, begin);
  commit_copies();
  wait_for_copies<1>();
  __syncthreads();
  const SharedRows<T, D> own = q.behind(first);
  using Shared = RowsInShared<T, D, M>;
  const std::conditional_t<Plan::kQueriesInRegisters, RowsInRegisters<T, D, M>, Shared> queries(Shared{own});

  RowSums<T, D, M> sums;
  Softmax<M> softmax(scale_of_scores<kPlain>(s));
  for (int64_t next; tiles.has(begin); begin = next) {
    next = tiles.next(begin);
    wait_for_copies();
    __syncthreads();  // the keys are there, and no warp reads the values before any more
    v.template fetch<kKeys>(values, begin);
    commit_copies();
    const Visibility<kPlain> seen(s, place.batch, place.begin + first, begin);
    TileSums scores[M][kKeys / 8];
    const bool is_seen = seen.any(16 * M, kKeys);
    if (is_seen) {
      multiply_rows(queries, k, scores);
      if (is_capped<kPlain>(s)) cap_scores(scores, s);
      if (!seen.all(16 * M, kKeys)) hide_in_rows(scores, seen);
      float factors[M][2];
      softmax.update(scores, factors);
      sums.scale(factors);
    }
    wait_for_copies();
    __syncthreads();  // the values are there, and no warp reads the keys any more
    if (tiles.has(next)) k.template fetch<kKeys>(keys, next);
    commit_copies();
    if (is_seen) sums.add(scores, v);
  }

  float inverse[M][2];
  softmax.finish(lse + (place.batch * s.num_heads + place.head) * s.q_len, place.begin + first, s.q_len,
                 inverse);
  sums.scale(inverse);
  sums.store(out.of(place.batch, place.head, D), place.begin + first, own);
}

}  // namespace

bool attention_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                               const Columns& v, const Tensor& out, const Tensor& lse) {
  const auto run = [&]<class T, int D, bool kPlain>(T, std::integral_constant<int, D>,
                                                    std::bool_constant<kPlain>) {
    using Plan = ForwardPlan<D>;
    const int64_t blocks = s.batch * s.num_heads * ceil_div(s.q_len, Plan::kQueries);
    launch(ctx, forward_kernel<T, D, kPlain>, static_cast<unsigned>(blocks), kTileThreads,
           Plan::template shared_bytes<T>(), AttentionInputs<T>(s, q, k, v), Heads<T>(out, s.q_len),
           lse.data<float>());
  };
  return on_tensor_cores(s, out.dtype(), run, q, k, v, Columns{out, 0, out.dim(1)});
}

}  // namespace trireme::ops::cuda
