// Elementwise helpers, copies and sums.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// t = value everywhere. f32, bf16, f16, f64, i32.
void fill(Context& ctx, const Tensor& t, double value);
TRIREME_OP_BODIES(fill, Context& ctx, const Tensor& t, double value)

/// t *= factor. Compute types.
void scale(Context& ctx, const Tensor& t, float factor);
TRIREME_OP_BODIES(scale, Context& ctx, const Tensor& t, float factor)

/// The number of the compute type that is nearest to x: a factor of scale() where the factor is of the type
/// too, as in x * sqrt(hidden) of Gemma's embedding.
float rounded_to(DType dtype, float x);

/// x = cap * tanh(x / cap), cap above 0 (Gemma 2, arXiv 2408.00118). Compute types.
void soft_cap(Context& ctx, const Columns& x, float cap);
TRIREME_OP_BODIES(soft_cap, Context& ctx, const Columns& x, float cap)

/// y = a + b, same shape, one compute type. y may be a or b.
void add(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y);
TRIREME_OP_BODIES(add, Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y)

/// t = 0 (never -0) where `where` ([t.numel()] u8) is not 0; NaN too. Compute types.
void zero_where(Context& ctx, const Tensor& where, const Tensor& t);
TRIREME_OP_BODIES(zero_where, Context& ctx, const Tensor& where, const Tensor& t)

/// y += x, where y is f32 and x any compute type of as many elements.
void accumulate(Context& ctx, const Tensor& x, const Tensor& y);
TRIREME_OP_BODIES(accumulate, Context& ctx, const Tensor& x, const Tensor& y)

/// to = from, converted between f32, bf16 and f16 (round to nearest even), or copied where the types are
/// equal (any type).
void copy(Context& ctx, const Tensor& from, const Tensor& to);
TRIREME_OP_BODIES(copy, Context& ctx, const Tensor& from, const Tensor& to)

/// to = from: blocks of columns with as many rows and columns, of one type (any).
void copy_columns(Context& ctx, const Columns& from, const Columns& to);
TRIREME_OP_BODIES(copy_columns, Context& ctx, const Columns& from, const Columns& to)

/// Elements that a sum adds up first; the sums of the blocks are then added by add_in_order.
inline constexpr int64_t kSumBlock = 1024;
/// Numbers that are added one after the other; runs of them can be summed at once.
inline constexpr int64_t kSumRun = 1024;

/// out[0] += the sum of t's elements; out is [1] f64. Compute types; summed in f64 over blocks of kSumBlock.
void add_sum(Context& ctx, const Tensor& t, const Tensor& out);
TRIREME_OP_BODIES(add_sum, Context& ctx, const Tensor& t, const Tensor& out)

/// out[0] += the sum of t's squared elements, as add_sum.
void add_sum_of_squares(Context& ctx, const Tensor& t, const Tensor& out);
TRIREME_OP_BODIES(add_sum_of_squares, Context& ctx, const Tensor& t, const Tensor& out)

/// The two halves of add_sum_of_squares, for tensors whose blocks lie on several ranks:
/// sums[b] = the sum of squares of block b; t.numel() is a multiple of kSumBlock, sums is f64, one a block.
void block_sums_of_squares(Context& ctx, const Tensor& t, const Tensor& sums);
TRIREME_OP_BODIES(block_sums_of_squares, Context& ctx, const Tensor& t, const Tensor& sums)
/// out[0] += sums[0], sums[1], ..., both f64: each kSumRun one after the other, the first run from out[0] on,
/// then the runs one after the other.
void add_in_order(Context& ctx, const Tensor& sums, const Tensor& out);
TRIREME_OP_BODIES(add_in_order, Context& ctx, const Tensor& sums, const Tensor& out)

}  // namespace trireme::ops
