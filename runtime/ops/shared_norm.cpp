#include "runtime/ops/shared_norm.h"

namespace trireme::ops {

namespace {

struct SharedRows {
  const char* op;
  const Columns& x;

  SharedRows(const char* name, const Columns& of) : op(name), x(of) {
    expect_matrix(op, "x", x);
    expect_compute_type(op, "x", x.matrix);
  }
  void expect_like(const char* argument, const Columns& c) const {
    expect_columns(op, argument, c, x.rows(), x.count);
    expect_dtype(op, argument, c.matrix, x.dtype());
  }
  void expect_column(const char* argument, const Columns& c) const {
    expect_columns(op, argument, c, x.rows(), 1);
    expect_dtype(op, argument, c.matrix, DType::f32);
  }
  void expect_vector(const char* argument, const Tensor& t) const {
    expect_shape(op, argument, t, {x.count});
    expect_dtype(op, argument, t, DType::f32);
  }
  void expect_width(int64_t width) const {
    TRIREME_CHECK(width >= x.count, "{}: all ranks have {} columns, this one {}", op, width, x.count);
  }
};

}  // namespace

void shared_norm_squares(Context& ctx, const Columns& x, const Columns& squares) {
  const SharedRows rows("shared_norm_squares", x);
  rows.expect_column("squares", squares);
  TRIREME_DISPATCH(shared_norm_squares, ctx, x, squares);
}

void shared_norm(Context& ctx, const Columns& x, const Columns& squares, int64_t width, const Tensor& gain,
                 float eps, const Columns& y, const Columns& rstd) {
  const SharedRows rows("shared_norm", x);
  rows.expect_column("squares", squares);
  rows.expect_width(width);
  rows.expect_vector("gain", gain);
  rows.expect_like("y", y);
  rows.expect_column("rstd", rstd);
  TRIREME_DISPATCH(shared_norm, ctx, x, squares, width, gain, eps, y, rstd);
}

void shared_norm_backward_sums(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                               const Columns& rstd, const Columns& sums, const Tensor& dgain) {
  const SharedRows rows("shared_norm_backward_sums", x);
  rows.expect_like("dy", dy);
  rows.expect_vector("gain", gain);
  rows.expect_column("rstd", rstd);
  rows.expect_column("sums", sums);
  rows.expect_vector("dgain", dgain);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(dgain)}, shared_norm_backward_sums, ctx, dy, x, gain,
                        rstd, sums, dgain);
}

void shared_norm_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                          const Columns& rstd, const Columns& sums, int64_t width, const Columns& dx) {
  const SharedRows rows("shared_norm_backward", x);
  rows.expect_like("dy", dy);
  rows.expect_vector("gain", gain);
  rows.expect_column("rstd", rstd);
  rows.expect_column("sums", sums);
  rows.expect_width(width);
  rows.expect_like("dx", dx);
  TRIREME_DISPATCH(shared_norm_backward, ctx, dy, x, gain, rstd, sums, width, dx);
}

}  // namespace trireme::ops
