// Joins attention over two disjoint sets of keys (Liu et al., arXiv 2310.01889; Milakov and Gimelshein, arXiv
// 1805.02867).
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// For queries [first, first + n) of each sequence, with the log-sum-exps l of `lse` and p of `part_lse`:
///   lse = log(exp l + exp p),  out = out * exp(l - lse) + part * exp(p - lse).
/// out [B*L, H*D] f32 and lse [B, H, L] f32 are overwritten; part [B*n, H*D] (a compute type) and part_lse
/// [B, H, n] f32 come from attention() over other keys. -inf stands for "saw no key", also on both sides.
void merge_attention(Context& ctx, const Tensor& part, const Tensor& part_lse, int64_t first,
                     const Tensor& out, const Tensor& lse);
TRIREME_OP_BODIES(merge_attention, Context& ctx, const Tensor& part, const Tensor& part_lse, int64_t first,
                  const Tensor& out, const Tensor& lse)

}  // namespace trireme::ops
