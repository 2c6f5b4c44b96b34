#include "runtime/ops/head_norm.h"

namespace trireme::ops {

namespace {

void check_heads(const char* op, const Columns& x, const Tensor& gain, const Tensor& rstd) {
  expect_matrix(op, "x", x);
  expect_compute_type(op, "x", x.matrix);
  TRIREME_CHECK(gain && gain.numel() > 0 && x.count % gain.numel() == 0, "{}: {} columns are no heads of {}",
                op, x.count, gain ? gain.numel() : 0);
  expect_shape(op, "gain", gain, {gain.numel()});
  expect_dtype(op, "gain", gain, DType::f32);
  expect_shape(op, "rstd", rstd, {x.rows(), x.count / gain.numel()});
  expect_dtype(op, "rstd", rstd, DType::f32);
}

void check_like(const char* op, const char* argument, const Columns& c, const Columns& x) {
  expect_columns(op, argument, c, x.rows(), x.count);
  expect_dtype(op, argument, c.matrix, x.dtype());
}

}  // namespace

void rms_norm_heads(Context& ctx, const Columns& x, const Tensor& gain, float eps, const Columns& y,
                    const Tensor& rstd) {
  const char* op = "rms_norm_heads";
  check_heads(op, x, gain, rstd);
  check_like(op, "y", y, x);
  TRIREME_DISPATCH(rms_norm_heads, ctx, x, gain, eps, y, rstd);
}

void rms_norm_heads_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                             const Tensor& rstd, const Columns& dx, const Tensor& dgain) {
  const char* op = "rms_norm_heads_backward";
  check_heads(op, x, gain, rstd);
  check_like(op, "dy", dy, x);
  check_like(op, "dx", dx, x);
  expect_shape(op, "dgain", dgain, gain.shape());
  expect_dtype(op, "dgain", dgain, DType::f32);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(dgain)}, rms_norm_heads_backward, ctx, dy, x, gain, rstd,
                        dx, dgain);
}

}  // namespace trireme::ops
