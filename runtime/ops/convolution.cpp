#include "runtime/ops/convolution.h"

namespace trireme::ops {

namespace {

void expect_taps(const char* op, const Tensor& w, int64_t width, int64_t kernel) {
  TRIREME_CHECK(kernel >= 1 && kernel <= kMostTaps, "{}: {} taps, at most {}", op, kernel, kMostTaps);
  expect_shape(op, "w", w, {width, kernel, 1});
  expect_dtype(op, "w", w, DType::f32);
}

void expect_convolution(const char* op, const ConvolutionShape& s, const Columns& abx, const Tensor& w,
                        const Tensor& positions) {
  expect_columns(op, "abx", abx, s.rows(), 3 * s.width);
  expect_compute_type(op, "abx", abx.matrix);
  expect_taps(op, w, s.width, s.kernel);
  expect_shape(op, "positions", positions, {s.rows()});
  expect_dtype(op, "positions", positions, DType::i32);
}

void expect_rows_of(const char* op, const char* argument, const Tensor& t, int64_t rows, int64_t width,
                    DType dtype) {
  expect_shape(op, argument, t, {rows, width});
  expect_dtype(op, argument, t, dtype);
}

// A multiply-add for each tap of an element.
OpWork work_of_taps(const ConvolutionShape& s, double times) {
  return {.flops = 2.0 * times * static_cast<double>(s.rows() * s.width * s.kernel)};
}

}  // namespace

void gated_inputs(Context& ctx, const Columns& abx, const Tensor& u) {
  expect_matrix("gated_inputs", "abx", abx);
  expect_compute_type("gated_inputs", "abx", abx.matrix);
  TRIREME_CHECK(abx.count % 3 == 0, "gated_inputs: {} columns are no three parts", abx.count);
  expect_rows_of("gated_inputs", "u", u, abx.rows(), abx.count / 3, abx.dtype());
  if (u.numel() == 0) return;
  TRIREME_DISPATCH(gated_inputs, ctx, abx, u);
}

void convolution(Context& ctx, const ConvolutionShape& shape, const Tensor& u, const Tensor& before,
                 const Columns& abx, const Tensor& w, const Tensor& positions, const Tensor& y) {
  const char* op = "convolution";
  expect_convolution(op, shape, abx, w, positions);
  expect_rows_of(op, "u", u, shape.rows(), shape.width, abx.dtype());
  if (before) expect_rows_of(op, "before", before, shape.rows_before(), shape.width, abx.dtype());
  expect_rows_of(op, "y", y, shape.rows(), shape.width, abx.dtype());
  if (y.numel() == 0) return;
  TRIREME_DISPATCH_WORK(work_of_taps(shape, 1), convolution, ctx, shape, u, before, abx, w, positions, y);
}

void convolution_backward_before(Context& ctx, const ConvolutionShape& shape, const Tensor& dy,
                                 const Columns& abx, const Tensor& w, const Tensor& positions,
                                 const Tensor& dbefore) {
  const char* op = "convolution_backward_before";
  expect_convolution(op, shape, abx, w, positions);
  expect_rows_of(op, "dy", dy, shape.rows(), shape.width, abx.dtype());
  expect_rows_of(op, "dbefore", dbefore, shape.rows_before(), shape.width, DType::f32);
  if (dbefore.numel() == 0) return;
  const auto rows = static_cast<double>(shape.rows_before() * shape.width);
  TRIREME_DISPATCH_WORK({.flops = 2 * rows * static_cast<double>(shape.kernel)}, convolution_backward_before,
                        ctx, shape, dy, abx, w, positions, dbefore);
}

void convolution_backward(Context& ctx, const ConvolutionShape& shape, const Tensor& dy, const Tensor& u,
                          const Tensor& before, const Columns& abx, const Tensor& w, const Tensor& positions,
                          const Tensor& dafter, const Columns& dabx, const Tensor& dw) {
  const char* op = "convolution_backward";
  expect_convolution(op, shape, abx, w, positions);
  expect_rows_of(op, "dy", dy, shape.rows(), shape.width, abx.dtype());
  expect_rows_of(op, "u", u, shape.rows(), shape.width, abx.dtype());
  if (before) expect_rows_of(op, "before", before, shape.rows_before(), shape.width, abx.dtype());
  if (dafter) {
    expect_rows_of(op, "dafter", dafter, shape.rows_before(), shape.width, DType::f32);
    TRIREME_CHECK(shape.length >= shape.kernel - 1, "{}: runs of {} rows under {} taps", op, shape.length,
                  shape.kernel);
  }
  expect_columns(op, "dabx", dabx, shape.rows(), 3 * shape.width);
  expect_dtype(op, "dabx", dabx.matrix, abx.dtype());
  expect_shape(op, "dw", dw, w.shape());
  expect_dtype(op, "dw", dw, DType::f32);
  if (u.numel() == 0) return;
  TRIREME_DISPATCH_WORK(work_of_taps(shape, 3), convolution_backward, ctx, shape, dy, u, before, abx, w,
                        positions, dafter, dabx, dw);
}

void paged_convolution(Context& ctx, const PagedRows& rows, const Columns& abx, const Tensor& w,
                       const Tensor& cache, const Tensor& y) {
  const char* op = "paged_convolution";
  const int64_t n = rows.num_rows(), width = cache.dim(2);
  expect_columns(op, "abx", abx, n, 3 * width);
  expect_compute_type(op, "abx", abx.matrix);
  expect_taps(op, w, width, w.dim(1));
  expect_dtype(op, "cache", cache, abx.dtype());
  expect_rows_of(op, "y", y, n, width, abx.dtype());
  expect_shape(op, "sequences", rows.sequences, {n});
  expect_shape(op, "places", rows.places, {n});
  for (const int32_t length : rows.lengths) {
    TRIREME_CHECK(length <= rows.block_tables.dim(1) * cache.dim(1), "{}: {} tokens, room for {}", op, length,
                  rows.block_tables.dim(1) * cache.dim(1));
  }
  if (n == 0) return;
  TRIREME_DISPATCH_WORK({.flops = 2.0 * static_cast<double>(n * w.numel())}, paged_convolution, ctx, rows,
                        abx, w, cache, y);
}

}  // namespace trireme::ops
