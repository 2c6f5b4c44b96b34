// Ring attention (Liu et al., arXiv 2310.01889): causal attention over sequences that context-parallel ranks
// share.
#pragma once

#include <span>

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/ops/attention/attention.h"

namespace trireme {

/// ops::attention, with `shape` (causal, q_len = kv_len, no shift), q, k, v, out and lse of the tokens that
/// this rank holds (ContextShare), over all keys before them. Keys and values go round the ring, each block
/// on its way while the one before is computed on; outputs over the blocks are merged in f32 by their
/// log-sum-exp: first the rank's own, then the previous rank's, and so on. A window, a pattern and first_key
/// count places in the whole sequence; under them ranks compute on, and are sent, no chunk that none of their
/// queries sees (limited_ring.h). Every rank of the group calls it. `num_parts`: the context-parallel ranks
/// that share the sequences; 1 where each holds them whole, and nothing is sent. `chunk_first_keys`: [batch,
/// 2 * ranks], the same on all ranks: the first_key of the first query of each chunk of the whole sequences,
/// by which ranks know what is out of view without asking the device; without it they leave out what is
/// beyond the window alone.
void ring_attention(Context& ctx, const ContextParallel& context, int num_parts,
                    const ops::AttentionShape& shape, const ops::Columns& q, const ops::Columns& k,
                    const ops::Columns& v, const Tensor& out, const Tensor& lse,
                    std::span<const int32_t> chunk_first_keys = {});

/// ops::attention_backward of it; out and lse are the merged ones. Keys and values go round once more, and
/// the gradients of each block one step after it, summed in f32, to the rank that holds it.
void ring_attention_backward(Context& ctx, const ContextParallel& context, int num_parts,
                             const ops::AttentionShape& shape, const ops::Columns& q, const ops::Columns& k,
                             const ops::Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                             const ops::Columns& dq, const ops::Columns& dk, const ops::Columns& dv,
                             std::span<const int32_t> chunk_first_keys = {});

}  // namespace trireme
