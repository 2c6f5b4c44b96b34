// Ring attention where a window, a pattern or first keys limit what a query sees: of each rank's two chunks
// others are sent, straight from the rank that holds them, the keys that some query of theirs may see.
#pragma once

#include <span>

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/ops/attention/attention.h"

namespace trireme {

inline bool limits_keys(const ops::AttentionShape& s) { return s.window > 0 || s.pattern || s.first_key; }

/// ring_attention and ring_attention_backward for such shapes. In step n of a ring of N, 0 < n < N, rank r
/// takes from rank r - n (modulo N); steps in which nobody takes anything are left out. All ranks know who
/// takes what, for it follows from the window, the pattern and chunk_first_keys. So under a window of w keys
/// a rank sends and computes on O(w) keys besides its own, however long the sequence, and under a pattern on
/// those that its queries see: sinks, globals, summaries, strided ones.
void limited_ring_attention(Context& ctx, const ContextParallel& context, const ops::AttentionShape& shape,
                            const ops::Columns& q, const ops::Columns& k, const ops::Columns& v,
                            const Tensor& out, const Tensor& lse, std::span<const int32_t> chunk_first_keys);
void limited_ring_attention_backward(Context& ctx, const ContextParallel& context,
                                     const ops::AttentionShape& shape, const ops::Columns& q,
                                     const ops::Columns& k, const ops::Columns& v, const Tensor& out,
                                     const Tensor& lse, const Tensor& dout, const ops::Columns& dq,
                                     const ops::Columns& dk, const ops::Columns& dv,
                                     std::span<const int32_t> chunk_first_keys);

}  // namespace trireme
