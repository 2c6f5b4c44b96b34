// Attention by cuDNN's fused kernels, where the build has them and the context's settings allow it.
#pragma once

#include "runtime/ops/attention/attention.h"

namespace trireme::ops::cuda {

/// Each false where the own kernels are to do it (AttentionPlans::find, which also says what is an error);
/// then nothing was done. Gradients are the same from run to run unless the settings say otherwise.
bool attention_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse);
bool attention_backward_by_cudnn(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                                 const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                                 const Columns& dq, const Columns& dk, const Columns& dv);

}  // namespace trireme::ops::cuda
