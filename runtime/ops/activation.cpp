#include "runtime/ops/activation.h"

namespace trireme::ops {

namespace {

void expect_like(const char* op, const char* argument, const Tensor& t, const Tensor& model) {
  expect_shape(op, argument, t, model.shape());
  expect_dtype(op, argument, t, model.dtype());
}

/// gate_up is [N,2F] and y [N,F], of one compute type.
void check_halves(const char* op, const Tensor& gate_up, const char* half_name, const Tensor& half) {
  expect_compute_type(op, "gate_up", gate_up);
  TRIREME_CHECK(gate_up.shape().rank() == 2 && gate_up.dim(1) % 2 == 0, "{}: gate_up is {}", op,
                to_string(gate_up.shape()));
  expect_shape(op, half_name, half, {gate_up.dim(0), gate_up.dim(1) / 2});
  expect_dtype(op, half_name, half, gate_up.dtype());
}

}  // namespace

void gelu(Context& ctx, const Tensor& x, const Tensor& y) {
  expect_compute_type("gelu", "x", x);
  expect_like("gelu", "y", y, x);
  TRIREME_DISPATCH(gelu, ctx, x, y);
}

void gelu_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  expect_compute_type("gelu_backward", "x", x);
  expect_like("gelu_backward", "dy", dy, x);
  expect_like("gelu_backward", "dx", dx, x);
  TRIREME_DISPATCH(gelu_backward, ctx, x, dy, dx);
}

void gelu_erf(Context& ctx, const Tensor& x, const Tensor& y) {
  expect_compute_type("gelu_erf", "x", x);
  expect_like("gelu_erf", "y", y, x);
  TRIREME_DISPATCH(gelu_erf, ctx, x, y);
}

void gelu_erf_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx) {
  expect_compute_type("gelu_erf_backward", "x", x);
  expect_like("gelu_erf_backward", "dy", dy, x);
  expect_like("gelu_erf_backward", "dx", dx, x);
  TRIREME_DISPATCH(gelu_erf_backward, ctx, x, dy, dx);
}

void swiglu(Context& ctx, const Tensor& gate_up, const Tensor& y) {
  check_halves("swiglu", gate_up, "y", y);
  TRIREME_DISPATCH(swiglu, ctx, gate_up, y);
}

void swiglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  check_halves("swiglu_backward", gate_up, "dy", dy);
  expect_like("swiglu_backward", "dgate_up", dgate_up, gate_up);
  TRIREME_DISPATCH(swiglu_backward, ctx, gate_up, dy, dgate_up);
}

void geglu(Context& ctx, const Tensor& gate_up, const Tensor& y) {
  check_halves("geglu", gate_up, "y", y);
  TRIREME_DISPATCH(geglu, ctx, gate_up, y);
}

void geglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up) {
  check_halves("geglu_backward", gate_up, "dy", dy);
  expect_like("geglu_backward", "dgate_up", dgate_up, gate_up);
  TRIREME_DISPATCH(geglu_backward, ctx, gate_up, dy, dgate_up);
}

}  // namespace trireme::ops
