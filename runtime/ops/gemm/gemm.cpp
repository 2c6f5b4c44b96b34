#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops {

namespace {

void check_gemm(const char* op, const GemmOptions& options, const Columns& a, const Tensor& b,
                const Tensor& bias, const Columns& c) {
  expect_matrix(op, "a", a);
  expect_matrix(op, "b", b);
  expect_compute_type(op, "a", a.matrix);
  expect_dtype(op, "b", b, a.dtype());
  const int64_t m = options.transpose_a ? a.count : a.rows(), k = options.transpose_a ? a.rows() : a.count;
  const int64_t n = b.dim(options.transpose_b ? 0 : 1);
  TRIREME_CHECK(b.dim(options.transpose_b ? 1 : 0) == k, "{}: a{} is {}, b{} is {}", op,
                options.transpose_a ? "^T" : "", to_string(Shape{a.rows(), a.count}),
                options.transpose_b ? "^T" : "", to_string(b.shape()));
  expect_columns(op, "c", c, m, n);
  if (c.dtype() != DType::f32) expect_dtype(op, "c", c.matrix, a.dtype());
  if (bias) {
    expect_shape(op, "bias", bias, {n});
    expect_dtype(op, "bias", bias, DType::f32);
  }
}

/// Of a product whose result is c[M,N], with K terms a sum; `rewritten` is added to.
OpWork work_of(const Columns& c, int64_t k, bool accumulate, const Tensor& rewritten = {}) {
  OpWork work;
  work.flops = 2.0 * static_cast<double>(c.rows() * c.count) * static_cast<double>(k);
  work.rewritten_bytes = (accumulate ? bytes_of(c) : 0) + bytes_of(rewritten);
  return work;
}

void expect_column_sums(const char* op, const char* argument, const Columns& x, const Tensor& sums) {
  expect_shape(op, argument, sums, {x.count});
  expect_dtype(op, argument, sums, DType::f32);
}

}  // namespace

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  check_gemm("gemm", options, a, b, bias, c);
  if (c.rows() == 0 || c.count == 0) return;
  TRIREME_DISPATCH_WORK(work_of(c, options.transpose_a ? a.rows() : a.count, options.accumulate), gemm, ctx,
                        options, a, b, bias, c);
}

bool has_native_gemm(Context& ctx, DType dtype) {
  TRIREME_CHECK(is_compute_type(dtype), "has_native_gemm: {}", to_string(dtype));
  // The program is built for GPUs whose tensor cores take every compute type.
  return ctx.device().type == DeviceType::cuda || cpu::has_native_gemm(ctx, dtype);
}

bool rows_are_independent(Context& ctx, DType dtype) {
  TRIREME_CHECK(is_compute_type(dtype), "rows_are_independent: {}", to_string(dtype));
  return ctx.device().type == DeviceType::cpu && cpu::rows_are_independent(ctx, dtype);
}

void linear(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Columns& y) {
  gemm(ctx, {.transpose_b = true}, x, w, bias, y);
}

void linear_gelu(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h,
                 const Tensor& y) {
  const char* op = "linear_gelu";
  check_gemm(op, {.transpose_b = true}, x, w, bias, h);
  expect_dtype(op, "h", h, x.dtype());
  expect_shape(op, "y", y, h.shape());
  expect_dtype(op, "y", y, x.dtype());
  if (h.numel() == 0) return;
  TRIREME_DISPATCH_WORK(work_of(h, x.dim(1), false), linear_gelu, ctx, x, w, bias, h, y);
}

void linear_backward_input(Context& ctx, const Columns& dy, const Tensor& w, const Tensor& dx) {
  gemm(ctx, {}, dy, w, {}, dx);
}

void linear_backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& w, const Tensor& h,
                                const Tensor& dh) {
  const char* op = "linear_backward_input_gelu";
  check_gemm(op, {}, dy, w, {}, dh);
  expect_dtype(op, "dh", dh, dy.dtype());
  expect_shape(op, "h", h, dh.shape());
  expect_dtype(op, "h", h, dy.dtype());
  if (dh.numel() == 0) return;
  TRIREME_DISPATCH_WORK(work_of(dh, dy.dim(1), false), linear_backward_input_gelu, ctx, dy, w, h, dh);
}

void linear_backward_weight(Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                            const Tensor& dbias) {
  const char* op = "linear_backward_weight";
  check_gemm(op, {.transpose_a = true}, dy, x, {}, dw);
  expect_dtype(op, "dw", dw, DType::f32);
  if (dbias) expect_column_sums(op, "dbias", dy, dbias);
  TRIREME_DISPATCH_WORK(work_of(dw, dy.rows(), true, dbias), linear_backward_weight, ctx, dy, x, dw, dbias);
}

void add_column_sums(Context& ctx, const Columns& x, const Tensor& out) {
  expect_matrix("add_column_sums", "x", x);
  expect_compute_type("add_column_sums", "x", x.matrix);
  expect_column_sums("add_column_sums", "out", x, out);
  if (x.rows() == 0 || x.count == 0) return;
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(out)}, add_column_sums, ctx, x, out);
}

}  // namespace trireme::ops
