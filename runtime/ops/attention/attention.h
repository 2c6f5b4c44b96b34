// Scaled dot-product attention without the T x T matrix (FlashAttention-2, Dao, arXiv 2307.08691).
#pragma once

#include "runtime/ops/attention/key_pattern.h"
#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// B sequences of q_len queries and kv_len keys. Query head h reads key/value head h / (num_heads /
/// num_kv_heads). Query i lies where key i + kv_len - q_len + shift lies or would lie; with `causal` it sees
/// no later key.
struct AttentionShape {
  int64_t batch = 1;
  int64_t q_len = 1;
  int64_t kv_len = 1;
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t head_dim = 1;
  float scale = 1.0f;
  bool causal = true;
  /// Of the keys up to its place a query sees those at the last `window` places alone; 0: all. Needs
  /// `causal`.
  int64_t window = 0;
  /// c above 0: a score s, scale applied, counts as c * tanh(s / c) (Gemma 2, arXiv 2408.00118).
  float soft_cap = 0;
  /// For a block of keys of a longer row: by how many places the last query lies after the last key.
  int64_t shift = 0;
  /// int32 [batch, q_len], or absent: a query sees no key at a place before its first_key. Not below 0, and
  /// does not fall from one query of a sequence to the next, which only the CPU's body can check. Needs
  /// `causal`. Documents packed in one row that do not attend to each other have their first token's place.
  /// Under a pattern each is that of the query before or, where a document begins, the query's own place.
  Tensor first_key = {};
  /// At which place key 0 lies, for first_key and pattern; other than 0 for a block of keys of a longer row.
  int64_t first_place = 0;
  /// Needs `causal`. Places count from first_key, those of queries and keys being what first_place and shift
  /// say.
  KeyPattern pattern = {};

  /// Of the queries and keys of sequence b; first_key is read where it lies.
  KeyPlaces places(int64_t b) const {
    const int64_t query_place = first_place + kv_len - q_len + shift;
    return {pattern,
            window,
            q_len,
            kv_len,
            query_place,
            first_place,
            first_key ? first_key.data<int32_t>() + b * q_len : nullptr};
  }
};

/// out[B*q_len, H*D] = softmax(scale * q k^T) v, and lse[B,H,q_len] (f32) = log of the sum of exponents, kept
/// for backward. q: H*D columns of B*q_len rows; k and v: K*D columns of B*kv_len rows. A query that sees no
/// key gives zeros and -inf. On the CPU the bits of a query's output depend on the query and on the keys it
/// sees, by their places, alone: not on other queries, later keys or threads. Working memory: O((block +
/// head_dim) * kv_len) a thread, under a window O((block + head_dim) * window), under a
/// pattern in the place of kv_len what a block of queries sees. A window, a pattern and first_key save work:
/// keys out of every query's view are not multiplied, but for the rest of their tiles. Observers are told the
/// work of a shape without first_key, whose values are the device's.
void attention(Context& ctx, const AttentionShape& shape, const Columns& q, const Columns& k,
               const Columns& v, const Tensor& out, const Tensor& lse);
TRIREME_OP_BODIES(attention, Context& ctx, const AttentionShape& shape, const Columns& q, const Columns& k,
                  const Columns& v, const Tensor& out, const Tensor& lse)

/// dq, dk, dv (overwritten, laid out as q, k, v) from dout. out and lse are those of the forward pass; for a
/// block of keys of a longer row they are those of the whole row.
void attention_backward(Context& ctx, const AttentionShape& shape, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                        const Columns& dq, const Columns& dk, const Columns& dv);
TRIREME_OP_BODIES(attention_backward, Context& ctx, const AttentionShape& shape, const Columns& q,
                  const Columns& k, const Columns& v, const Tensor& out, const Tensor& lse,
                  const Tensor& dout, const Columns& dq, const Columns& dk, const Columns& dv)

}  // namespace trireme::ops
