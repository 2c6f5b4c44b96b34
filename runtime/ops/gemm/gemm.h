// Matrix products.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

struct GemmOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  ///< c += instead of c =
  float alpha = 1.0f;
};

/// c[M,N] = alpha * op(a)[M,K] · op(b)[K,N] (+ bias[N] on every row) (+ c). a and b of one compute type; c of
/// that type or f32; bias f32 or absent (on CUDA rounded to c's type before it is added); sums in fp32. M, N
/// or K may be 0 (K = 0: the product is zero).
void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c);
TRIREME_OP_BODIES(gemm, Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b,
                  const Tensor& bias, const Columns& c)

/// Whether the context's device multiplies matrices of this compute type itself. Where it does not, gemm
/// computes in fp32 with the rounded values: the same result up to the order of sums, at fp32's speed.
bool has_native_gemm(Context& ctx, DType dtype);
namespace cpu {
bool has_native_gemm(Context& ctx, DType dtype);
}

/// Whether a row of a forward product (op(b) transposed, op(a) not, nothing accumulated) of this compute type
/// has the same bits whatever the other rows are and however many there are. On the CPU true of f32, and of
/// half types as found out once by comparing a few products; false on CUDA.
bool rows_are_independent(Context& ctx, DType dtype);
namespace cpu {
bool rows_are_independent(Context& ctx, DType dtype);
}

/// y[N,O] = x[N,I] · w[O,I]^T + bias[O]. bias f32 or absent.
void linear(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Columns& y);
/// h[N,O] = x · w^T + bias and y[N,O] = GELU(h) (activation.h), both of x's type. Where products have GELU in
/// their epilogue (on CUDA) y comes from sums that are not rounded to h's type first.
void linear_gelu(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h,
                 const Tensor& y);
TRIREME_OP_BODIES(linear_gelu, Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Tensor& h, const Tensor& y)

/// dx[N,I] = dy[N,O] · w[O,I].
void linear_backward_input(Context& ctx, const Columns& dy, const Tensor& w, const Tensor& dx);
/// Where the layer's input is GELU(h): dh[N,I] = (dy[N,O] · w[O,I]) * GELU'(h[N,I]), all of one type. On CUDA
/// the sums may be multiplied before they are rounded. dh may not be h.
void linear_backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& w, const Tensor& h,
                                const Tensor& dh);
TRIREME_OP_BODIES(linear_backward_input_gelu, Context& ctx, const Tensor& dy, const Tensor& w,
                  const Tensor& h, const Tensor& dh)
/// dw[O,I] += dy^T · x and dbias[O] += column sums of dy. dw and dbias (may be absent) f32.
void linear_backward_weight(Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                            const Tensor& dbias);
TRIREME_OP_BODIES(linear_backward_weight, Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                  const Tensor& dbias)

/// out[C] += column sums of x[N,C]; out f32.
void add_column_sums(Context& ctx, const Columns& x, const Tensor& out);
TRIREME_OP_BODIES(add_column_sums, Context& ctx, const Columns& x, const Tensor& out)

}  // namespace trireme::ops
