// Ring attention (Liu et al., arXiv 2310.01889): causal attention over sequences that context ranks share.
#pragma once

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/ops/attention/attention.h"

namespace trireme {

/// ops::attention, with `shape` (causal, q_len = kv_len, no shift), q, k, v, out and lse of the tokens that
/// this rank holds (ContextShare), over all keys before them. Keys and values go round the ring, each block
/// on its way while the one before is computed on; outputs over the blocks are merged in f32 by their
/// log-sum-exp: first the rank's own, then the previous rank's, and so on. A window counts places in the
/// whole sequence; blocks beyond it are not multiplied, but go round all the same. Every rank of the group
/// calls it. `num_parts`: the context ranks that share the sequences; 1 where each holds them whole, and
/// nothing is sent.
void ring_attention(Context& ctx, const ContextParallel& context, int num_parts,
                    const ops::AttentionShape& shape, const ops::Columns& q, const ops::Columns& k,
                    const ops::Columns& v, const Tensor& out, const Tensor& lse);

/// ops::attention_backward of it; out and lse are the merged ones. Keys and values go round once more, and
/// the gradients of each block one step behind it, summed in f32, to the rank that holds it.
void ring_attention_backward(Context& ctx, const ContextParallel& context, int num_parts,
                             const ops::AttentionShape& shape, const ops::Columns& q, const ops::Columns& k,
                             const ops::Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                             const ops::Columns& dq, const ops::Columns& dk, const ops::Columns& dv);

}  // namespace trireme
