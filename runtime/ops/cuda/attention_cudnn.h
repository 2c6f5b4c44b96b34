// Attention by cuDNN's fused kernels, in builds that have its frontend headers.
#pragma once

#include "runtime/ops/attention.h"

namespace trireme::ops::cuda {

/// Each false where the build has no cuDNN or cuDNN does not serve the case; then nothing was done. bf16 and
/// fp16, as many queries as keys, rows and heads at multiples of 16 bytes. Gradients are the same from run to
/// run.
bool attention_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse);
bool attention_backward_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                                 const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 const Columns& dq, const Columns& dk, const Columns& dv);

}  // namespace trireme::ops::cuda
