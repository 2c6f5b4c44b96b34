// Non-finite values.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// first[0] = the index of the first infinity or NaN in t, or t.numel() where all values are finite. t: a
/// compute type or f64; first: [1] i64.
void find_nonfinite(Context& ctx, const Tensor& t, const Tensor& first);
TRIREME_OP_BODIES(find_nonfinite, Context& ctx, const Tensor& t, const Tensor& first)

/// Sets out to NaN if x is not finite, else leaves it unchanged. Both [1] f64.
void propagate_nonfinite(Context& ctx, const Tensor& x, const Tensor& out);
TRIREME_OP_BODIES(propagate_nonfinite, Context& ctx, const Tensor& x, const Tensor& out)

}  // namespace trireme::ops
