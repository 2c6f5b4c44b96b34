// Scaled dot-product attention without the T x T matrix (FlashAttention-2, Dao, arXiv 2307.08691).
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// B sequences of q_len queries and kv_len keys. Query head h reads key/value head h / (num_heads /
/// num_kv_heads). With `causal`, query i sees keys j <= i + kv_len - q_len.
struct AttentionShape {
  int64_t batch = 1;
  int64_t q_len = 1;
  int64_t kv_len = 1;
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t head_dim = 1;
  float scale = 1.0f;
  bool causal = true;
};

/// out[B*q_len, H*D] = softmax(scale * q k^T) v, and lse[B,H,q_len] (f32) = log of the sum of exponents, kept
/// for backward. q: H*D columns of B*q_len rows; k and v: K*D columns of B*kv_len rows. A query that sees no
/// key gives zeros and -inf. Working memory: O(block * kv_len) a thread.
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
