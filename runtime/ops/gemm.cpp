#include "runtime/ops/gemm.h"

namespace trireme::ops {

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  expect_matrix("gemm", "a", a);
  expect_matrix("gemm", "b", b);
  expect_compute_type("gemm", "a", a.matrix);
  expect_dtype("gemm", "b", b, a.dtype());
  const int64_t m = options.transpose_a ? a.count : a.rows(), k = options.transpose_a ? a.rows() : a.count;
  const int64_t n = b.dim(options.transpose_b ? 0 : 1);
  TRIREME_CHECK(b.dim(options.transpose_b ? 1 : 0) == k, "gemm: a{} is {}, b{} is {}",
                options.transpose_a ? "^T" : "", to_string(Shape{a.rows(), a.count}),
                options.transpose_b ? "^T" : "", to_string(b.shape()));
  expect_columns("gemm", "c", c, m, n);
  if (c.dtype() != DType::f32) expect_dtype("gemm", "c", c.matrix, a.dtype());
  if (bias) {
    expect_shape("gemm", "bias", bias, {n});
    expect_dtype("gemm", "bias", bias, DType::f32);
  }
  if (m == 0 || n == 0) return;
  TRIREME_DISPATCH(gemm, ctx, options, a, b, bias, c);
}

bool has_native_gemm(Context& ctx, DType dtype) {
  TRIREME_CHECK(is_compute_type(dtype), "has_native_gemm: {}", to_string(dtype));
  // The program is built for GPUs whose tensor cores take every compute type.
  return ctx.device().type == DeviceType::cuda || cpu::has_native_gemm(ctx, dtype);
}

void linear(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Columns& y) {
  gemm(ctx, {.transpose_b = true}, x, w, bias, y);
}

void linear_backward_input(Context& ctx, const Columns& dy, const Tensor& w, const Tensor& dx) {
  gemm(ctx, {}, dy, w, {}, dx);
}

void linear_backward_weight(Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                            const Tensor& dbias) {
  expect_dtype("linear_backward_weight", "dw", dw, DType::f32);
  gemm(ctx, {.transpose_a = true, .accumulate = true}, dy, x, {}, dw);
  if (dbias) add_column_sums(ctx, dy, dbias);
}

void add_column_sums(Context& ctx, const Columns& x, const Tensor& out) {
  expect_matrix("add_column_sums", "x", x);
  expect_compute_type("add_column_sums", "x", x.matrix);
  expect_shape("add_column_sums", "out", out, {x.count});
  expect_dtype("add_column_sums", "out", out, DType::f32);
  if (x.rows() == 0 || x.count == 0) return;
  TRIREME_DISPATCH(add_column_sums, ctx, x, out);
}

}  // namespace trireme::ops
