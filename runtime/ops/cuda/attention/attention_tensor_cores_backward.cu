// Gradients of fused attention on tensor cores (FlashAttention-2, Dao, arXiv 2307.08691, section 3.1.2), in
// two walks so that every gradient has one owner: blocks that own queries walk through the keys, blocks that
// own keys through the queries. Tiles are on their way while others are multiplied.
#include "runtime/ops/cuda/attention/attention_tiles.cuh"

namespace trireme::ops::cuda {

namespace {

/// For dq: as in the forward pass values are fetched while keys are multiplied, and keys while values are.
template <int D>
struct QueryPlan {
  static constexpr int kRowTiles = D <= 64 ? 2 : 1, kQueries = kTileWarps * 16 * kRowTiles, kKeys = 64;
  template <class T>
  static constexpr size_t shared_bytes() {
    return SharedRows<T, D>::bytes(2 * kQueries + 2 * kKeys);
  }
};

/// For dk and dv: two stages of queries, one multiplied while the other one is fetched.
template <int D>
struct KeyPlan {
  static constexpr int kRowTiles = D <= 64 ? 2 : 1, kKeys = kTileWarps * 16 * kRowTiles, kQueries = 32;
  template <class T>
  static constexpr size_t shared_bytes() {
    return SharedRows<T, D>::bytes(2 * kKeys + 4 * kQueries) + 4 * kQueries * sizeof(float);
  }
};

/// What turns scores into exponents of two, and the cap that they are under, or 0.
template <bool kPlain>
struct ScoreScale {
  float scale, cap;
  __device__ explicit ScoreScale(const KernelShape& s)
      : scale(scale_of_scores<kPlain>(s) * kLog2E), cap(kPlain ? 0.0f : s.soft_cap) {}
};

/// score becomes p, and dp the gradient of the scaled product. lse counts in powers of two; a lse of infinity
/// makes both 0.
template <bool kCapped, bool kPlain>
__device__ void differentiate(float& score, float& dp, float lse, float delta, const ScoreScale<kPlain>& by) {
  const float t = kCapped ? fmaxf(score, -by.cap) / by.cap : 0.0f;  // a hidden score is minus infinity
  score = fast_exp2(fmaf(score, by.scale, -lse));
  dp = score * (dp - delta);
  if (kCapped) dp *= 1.0f - t * t;
}

/// The same of a tile whose rows are queries.
template <bool kCapped, bool kPlain, int M, int N>
__device__ void differentiate_rows(TileSums (&scores)[M][N], TileSums (&dp)[M][N], const float (&lse)[M][2],
                                   const float (&delta)[M][2], const ScoreScale<kPlain>& by) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int e = 0; e < N * 4; ++e) {
      const int n = e / 4, at = e % 4;
      differentiate<kCapped>(scores[m][n].at[at], dp[m][n].at[at], lse[m][at / 2], delta[m][at / 2], by);
    }
  }
}

/// lse for differentiate(); of a query that sees no key, infinity.
__device__ float in_powers_of_two(float lse) { return lse == minus_infinity() ? -lse : lse * kLog2E; }

template <class T, int D, bool kPlain>
__global__ void __launch_bounds__(kTileThreads, 2) dq_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using Plan = QueryPlan<D>;
  constexpr int M = Plan::kRowTiles, kQueries = Plan::kQueries, kKeys = Plan::kKeys;
  const KernelShape& s = in.shape;
  const SharedRows<T, D> q{shared_memory<T>()}, dout = q.behind(kQueries), k = dout.behind(kQueries),
                                                v = k.behind(kKeys);
  const TilePlace place(s.batch, s.num_heads, ceil_div(s.q_len, kQueries), kQueries, true);
  const auto keys = in.k.of(place.batch, in.kv_head(place.head), D);
  const auto values = in.v.of(place.batch, in.kv_head(place.head), D);
  const KeyTiles<kPlain, kKeys> tiles(s, place.batch, place.begin, kQueries);
  int64_t begin = tiles.first();
  const bool is_alone = !tiles.has(begin);
  const int first = first_row_of_warp<M>();

  q.template fetch<kQueries>(in.q.of(place.batch, place.head, D), place.begin);
  dout.template fetch<kQueries>(g.dout.of(place.batch, place.head, D), place.begin);
  if (tiles.has(begin)) v.template fetch<kKeys>(values, begin);
  commit_copies();
  float lse[M][2], delta[M][2];
  const int64_t row = (place.batch * s.num_heads + place.head) * s.q_len;
#pragma unroll
  for (int r = 0; r < 2 * M; ++r) {
    const int64_t i = place.begin + first + 8 * r + lane_in_warp() / 4;
    lse[r / 2][r % 2] = in_powers_of_two(i < s.q_len ? g.lse[row + i] : minus_infinity());
    delta[r / 2][r % 2] = i < s.q_len ? g.delta[row + i] : 0.0f;
  }

  RowSums<T, D, M> dq;
  const ScoreScale<kPlain> by(s);
  for (int64_t next; tiles.has(begin); begin = next) {
    next = tiles.next(begin);
    wait_for_copies();
    __syncthreads();  // the values are there, and no warp reads the keys before any more
    k.template fetch<kKeys>(keys, begin);
    commit_copies();
    const Visibility<kPlain> seen(s, place.batch, place.begin + first, begin);
    TileSums scores[M][kKeys / 8], dp[M][kKeys / 8];
    const bool is_seen = seen.any(16 * M, kKeys);
    if (is_seen) multiply_rows(RowsInShared<T, D, M>{dout.behind(first)}, v, dp);
    wait_for_copies();
    __syncthreads();  // the keys are there, and no warp reads the values any more
    if (tiles.has(next)) v.template fetch<kKeys>(values, next);
    commit_copies();
    if (!is_seen) continue;
    multiply_rows(RowsInShared<T, D, M>{q.behind(first)}, k, scores);
    if (is_capped<kPlain>(s)) cap_scores(scores, s);
    if (!seen.all(16 * M, kKeys)) hide_in_rows(scores, seen);
    if (is_capped<kPlain>(s))
      differentiate_rows<true>(scores, dp, lse, delta, by);
    else
      differentiate_rows<false>(scores, dp, lse, delta, by);
    dq.add(dp, k);
  }
  if (is_alone) {  // nobody has waited, and rows that others fetch are about to be used again
    wait_for_copies();
    __syncthreads();
  }
  dq.scale(s.scale);
  dq.store(g.dq.of(place.batch, place.head, D), place.begin + first, q.behind(first));
}

/// The queries of a stage: their rows, and lse and delta.
template <class T, int D>
struct QueryStage {
  static constexpr int kQueries = KeyPlan<D>::kQueries;
  SharedRows<T, D> q, dout;
  float *lse, *delta;

  __device__ QueryStage(const SharedRows<T, D>& stages, int number)
      : q(stages.behind(2 * number * kQueries)), dout(q.behind(kQueries)) {
    lse = reinterpret_cast<float*>(stages.row(4 * kQueries)) + 2 * number * kQueries;
    delta = lse + kQueries;
  }

  /// Asks for the queries from `begin` on of one head. Beyond the last all is 0, and with it what follows.
  __device__ void fetch(const AttentionInputs<T>& in, const AttentionGradients<T>& g, int64_t batch,
                        int64_t head, int64_t begin) const {
    const KernelShape& s = in.shape;
    q.template fetch<kQueries>(in.q.of(batch, head, D), begin);
    dout.template fetch<kQueries>(g.dout.of(batch, head, D), begin);
    const int i = static_cast<int>(threadIdx.x) % kQueries;
    const bool is_there = begin + i < s.q_len;
    const int64_t row = (batch * s.num_heads + head) * s.q_len + (is_there ? begin + i : 0);
    if (threadIdx.x < kQueries)
      copy_async<4>(lse + i, g.lse + row, is_there);
    else if (threadIdx.x < 2 * kQueries)
      copy_async<4>(delta + i, g.delta + row, is_there);
  }

  /// See differentiate(): rows are keys, columns queries.
  template <bool kCapped, bool kPlain, int M>
  __device__ void differentiate_columns(TileSums (&scores)[M][kQueries / 8], TileSums (&dp)[M][kQueries / 8],
                                        const ScoreScale<kPlain>& by) const {
    const int t = lane_in_warp() % 4;
#pragma unroll
    for (int i = 0; i < kQueries / 4; ++i) {
      const int n = i / 2, at = i % 2, query = 8 * n + 2 * t + at;
      const float powers = in_powers_of_two(lse[query]);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        differentiate<kCapped>(scores[m][n].at[at], dp[m][n].at[at], powers, delta[query], by);
        differentiate<kCapped>(scores[m][n].at[at + 2], dp[m][n].at[at + 2], powers, delta[query], by);
      }
    }
  }
};

template <class T, int D, bool kPlain>
__global__ void __launch_bounds__(kTileThreads, 2)
    dkv_kernel(AttentionInputs<T> in, AttentionGradients<T> g) {
  using Plan = KeyPlan<D>;
  constexpr int M = Plan::kRowTiles, kKeys = Plan::kKeys, kQueries = Plan::kQueries;
  const KernelShape& s = in.shape;
  const SharedRows<T, D> k{shared_memory<T>()}, v = k.behind(kKeys), stages = v.behind(kKeys);
  const TilePlace place(s.batch, s.num_kv_heads, ceil_div(s.kv_len, kKeys), kKeys, false);
  const int first = first_row_of_warp<M>();
  k.template fetch<kKeys>(in.k.of(place.batch, place.head, D), place.begin);
  v.template fetch<kKeys>(in.v.of(place.batch, place.head, D), place.begin);

  // Of each head of the group the queries that see a key of the tile, kQueries at a time.
  const int64_t group = s.num_heads / s.num_kv_heads;
  const QueryTiles<kPlain, kQueries> tiles(s, place.batch, place.begin, kKeys);
  const int64_t first_begin = tiles.first(), end_head = tiles.has(first_begin) ? (place.head + 1) * group : 0;
  int64_t head = place.head * group, begin = first_begin;
  const bool is_alone = head >= end_head;
  const auto fetch = [&](int stage) {
    QueryStage<T, D>(stages, stage).fetch(in, g, place.batch, head, begin);
  };
  if (!is_alone) fetch(0);
  commit_copies();

  RowSums<T, D, M> dk, dv;
  const ScoreScale<kPlain> by(s);
  for (int stage = 0; head < end_head; stage = 1 - stage) {
    wait_for_copies();
    __syncthreads();  // the stage is there, and no warp reads the other one any more
    const int64_t at = begin;
    begin = tiles.next(begin);
    if (!tiles.has(begin)) ++head, begin = first_begin;
    if (head < end_head) fetch(1 - stage);
    commit_copies();
    const Visibility<kPlain> seen(s, place.batch, at, place.begin + first);
    if (!seen.any(kQueries, 16 * M)) continue;
    const QueryStage<T, D> queries(stages, stage);
    TileSums scores[M][kQueries / 8], dp[M][kQueries / 8];
    multiply_rows(RowsInShared<T, D, M>{k.behind(first)}, queries.q, scores);
    multiply_rows(RowsInShared<T, D, M>{v.behind(first)}, queries.dout, dp);
    if (is_capped<kPlain>(s)) cap_scores(scores, s);
    if (!seen.all(kQueries, 16 * M)) hide_in_columns(scores, seen);
    if (is_capped<kPlain>(s))
      queries.template differentiate_columns<true>(scores, dp, by);
    else
      queries.template differentiate_columns<false>(scores, dp, by);
    dv.add(scores, queries.dout);
    dk.add(dp, queries.q);
  }
  if (is_alone) {  // as above
    wait_for_copies();
    __syncthreads();
  }
  dk.scale(s.scale);
  dk.store(g.dk.of(place.batch, place.head, D), place.begin + first, k.behind(first));
  dv.store(g.dv.of(place.batch, place.head, D), place.begin + first, v.behind(first));
}

}  // namespace

bool attention_backward_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q,
                                        const Columns& k, const Columns& v, const Tensor& lse,
                                        const Tensor& delta, const Tensor& dout, const Columns& dq,
                                        const Columns& dk, const Columns& dv) {
  const auto run = [&]<class T, int D, bool kPlain>(T, std::integral_constant<int, D>,
                                                    std::bool_constant<kPlain>) {
    const AttentionInputs<T> in(s, q, k, v);
    const AttentionGradients<T> gradients(s, dout, dq, dk, dv, lse, delta);
    const int64_t query_tiles = ceil_div(s.q_len, QueryPlan<D>::kQueries),
                  key_tiles = ceil_div(s.kv_len, KeyPlan<D>::kKeys);
    launch(ctx, dq_kernel<T, D, kPlain>, static_cast<unsigned>(s.batch * s.num_heads * query_tiles),
           kTileThreads, QueryPlan<D>::template shared_bytes<T>(), in, gradients);
    launch(ctx, dkv_kernel<T, D, kPlain>, static_cast<unsigned>(s.batch * s.num_kv_heads * key_tiles),
           kTileThreads, KeyPlan<D>::template shared_bytes<T>(), in, gradients);
  };
  return on_tensor_cores(s, dout.dtype(), run, q, k, v, Columns{dout, 0, dout.dim(1)}, dq, dk, dv);
}

}  // namespace trireme::ops::cuda
