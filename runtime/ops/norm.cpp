#include "runtime/ops/norm.h"

namespace trireme::ops {

namespace {

/// A norm's tensors, checked alike for both norms: undefined ones are absent. The first is a [N,C] matrix.
struct Arguments {
  const char* op;
  const Tensor& first;
  int64_t rows = 0;
  int64_t width = 0;

  Arguments(const char* name, const char* first_name, const Tensor& t) : op(name), first(t) {
    expect_compute_type(op, first_name, t);
    TRIREME_CHECK(t.shape().rank() == 2 && t.dim(1) > 0, "{}: {} is {}", op, first_name,
                  to_string(t.shape()));
    rows = t.dim(0);
    width = t.dim(1);
  }

  void expect_matrix(const char* argument, const Tensor& t) const {
    expect_shape(op, argument, t, first.shape());
    expect_dtype(op, argument, t, first.dtype());
  }
  void expect_vector(const char* argument, const Tensor& t, int64_t size) const {
    expect_shape(op, argument, t, {size});
    expect_dtype(op, argument, t, DType::f32);
  }
};

void check_forward(const Arguments& a, const Tensor& residual, const Tensor& gain, const Tensor& sum,
                   const Tensor& y, const Tensor& rstd) {
  TRIREME_CHECK(static_cast<bool>(residual) == static_cast<bool>(sum),
                "{}: residual and sum must be given together", a.op);
  if (residual) a.expect_matrix("residual", residual);
  if (sum) a.expect_matrix("sum", sum);
  a.expect_matrix("y", y);
  a.expect_vector("gain", gain, a.width);
  a.expect_vector("rstd", rstd, a.rows);
}

void check_backward(const Arguments& a, const Tensor& dsum, const Tensor& sum, const Tensor& gain,
                    const Tensor& rstd, const Tensor& dx, const Tensor& dgain) {
  if (dsum) a.expect_matrix("dsum", dsum);
  a.expect_matrix("sum", sum);
  a.expect_matrix("dx", dx);
  a.expect_vector("gain", gain, a.width);
  a.expect_vector("rstd", rstd, a.rows);
  a.expect_vector("dgain", dgain, a.width);
}

}  // namespace

void layer_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias,
                float eps, const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const Arguments a("layer_norm", "x", x);
  check_forward(a, residual, gain, sum, y, rstd);
  if (bias) a.expect_vector("bias", bias, a.width);
  a.expect_vector("mean", mean, a.rows);
  TRIREME_DISPATCH(layer_norm, ctx, x, residual, gain, bias, eps, sum, y, mean, rstd);
}

void layer_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                         const Tensor& gain, const Tensor& mean, const Tensor& rstd, const Tensor& dx,
                         const Tensor& dgain, const Tensor& dbias) {
  const Arguments a("layer_norm_backward", "dy", dy);
  check_backward(a, dsum, sum, gain, rstd, dx, dgain);
  a.expect_vector("mean", mean, a.rows);
  if (dbias) a.expect_vector("dbias", dbias, a.width);
  TRIREME_DISPATCH(layer_norm_backward, ctx, dy, dsum, sum, gain, mean, rstd, dx, dgain, dbias);
}

void rms_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, float eps,
              const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  const Arguments a("rms_norm", "x", x);
  check_forward(a, residual, gain, sum, y, rstd);
  TRIREME_DISPATCH(rms_norm, ctx, x, residual, gain, eps, sum, y, rstd);
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                       const Tensor& gain, const Tensor& rstd, const Tensor& dx, const Tensor& dgain) {
  const Arguments a("rms_norm_backward", "dy", dy);
  check_backward(a, dsum, sum, gain, rstd, dx, dgain);
  TRIREME_DISPATCH(rms_norm_backward, ctx, dy, dsum, sum, gain, rstd, dx, dgain);
}

}  // namespace trireme::ops
