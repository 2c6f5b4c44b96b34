#include "runtime/ops/gemm/float8.h"

namespace trireme::ops {

namespace {

void expect_scaled(const char* op, const char* argument, const ScaledTensor& t) {
  TRIREME_CHECK(t.values && is_float8(t.values.dtype()), "{}: {} is {}, expected f8e4m3 or f8e5m2", op,
                argument, t.values ? to_string(t.values.dtype()) : "undefined");
  expect_shape(op, "scale", t.scale, {1});
  expect_dtype(op, "scale", t.scale, DType::f32);
}

}  // namespace

void quantize(Context& ctx, const Tensor& x, const ScaledTensor& out) {
  expect_compute_type("quantize", "x", x);
  expect_scaled("quantize", "out", out);
  expect_shape("quantize", "out", out.values, x.shape());
  TRIREME_DISPATCH(quantize, ctx, x, out);
}

void dequantize(Context& ctx, const ScaledTensor& x, const Tensor& y) {
  expect_scaled("dequantize", "x", x);
  expect_compute_type("dequantize", "y", y);
  expect_shape("dequantize", "y", y, x.values.shape());
  TRIREME_DISPATCH(dequantize, ctx, x, y);
}

void gemm_float8(Context& ctx, const GemmOptions& options, const ScaledTensor& a, const ScaledTensor& b,
                 const Tensor& bias, const Tensor& c) {
  expect_scaled("gemm_float8", "a", a);
  expect_scaled("gemm_float8", "b", b);
  TRIREME_CHECK(a.values.shape().rank() == 2 && b.values.shape().rank() == 2, "gemm_float8: a is {}, b is {}",
                to_string(a.values.shape()), to_string(b.values.shape()));
  const int64_t k = a.values.dim(options.transpose_a ? 0 : 1);
  TRIREME_CHECK(b.values.dim(options.transpose_b ? 1 : 0) == k, "gemm_float8: a is {}, b is {}",
                to_string(a.values.shape()), to_string(b.values.shape()));
  const Shape shape{a.values.dim(options.transpose_a ? 1 : 0), b.values.dim(options.transpose_b ? 0 : 1)};
  expect_compute_type("gemm_float8", "c", c);
  expect_shape("gemm_float8", "c", c, shape);
  if (bias) {
    expect_shape("gemm_float8", "bias", bias, {shape[1]});
    expect_dtype("gemm_float8", "bias", bias, DType::f32);
  }
  if (c.numel() == 0) return;
  OpWork work;
  work.flops = 2.0 * static_cast<double>(c.numel()) * static_cast<double>(k);
  if (options.accumulate) work.rewritten_bytes = bytes_of(c);
  TRIREME_DISPATCH_WORK(work, gemm_float8, ctx, options, a, b, bias, c);
}

}  // namespace trireme::ops
