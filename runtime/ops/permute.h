// Rows of tokens in the order of their experts, and back.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// out[slots[n,j], :] = x[n, :] for every slot that is not negative; rows of out that no slot names are zero.
/// x[N,C] and out[R,C] of one compute type; slots[N,k] i32, each below R, none named twice.
void permute_rows(Context& ctx, const Tensor& x, const Tensor& slots, const Tensor& out);
TRIREME_OP_BODIES(permute_rows, Context& ctx, const Tensor& x, const Tensor& slots, const Tensor& out)

/// out[n, :] = the sum over j of gates[n,j] * y[slots[n,j], :], in the order of j, negative slots left out.
/// gates[N,k] f32; absent: ones, which makes it the backward pass of permute_rows.
void combine_rows(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates, const Tensor& out);
TRIREME_OP_BODIES(combine_rows, Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                  const Tensor& out)

/// The backward pass of combine_rows: dy[slots[n,j], :] = gates[n,j] * dout[n, :], rows that no slot names
/// are zero; dgates[n,j] = dout[n, :] · y[slots[n,j], :], 0 where the slot is negative. dy may be y.
void combine_rows_backward(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                           const Tensor& dout, const Tensor& dy, const Tensor& dgates);
TRIREME_OP_BODIES(combine_rows_backward, Context& ctx, const Tensor& y, const Tensor& slots,
                  const Tensor& gates, const Tensor& dout, const Tensor& dy, const Tensor& dgates)

}  // namespace trireme::ops
