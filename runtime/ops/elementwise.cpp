#include "runtime/ops/elementwise.h"

#include <cmath>

#include "runtime/ops/compute_type.h"

namespace trireme::ops {

namespace {

void expect_numel(const char* op, const char* argument, const Tensor& t, int64_t numel) {
  TRIREME_CHECK(t, "{}: {} is undefined", op, argument);
  TRIREME_CHECK(t.numel() == numel, "{}: {} is {}, expected {} elements", op, argument, to_string(t.shape()),
                numel);
}

void check_sum(const char* op, const Tensor& t, const Tensor& out) {
  expect_compute_type(op, "t", t);
  expect_shape(op, "out", out, {1});
  expect_dtype(op, "out", out, DType::f64);
}

}  // namespace

void fill(Context& ctx, const Tensor& t, double value) {
  TRIREME_CHECK(t, "fill: t is undefined");
  TRIREME_CHECK(is_compute_type(t.dtype()) || t.dtype() == DType::f64 || t.dtype() == DType::i32,
                "fill: t is {}", to_string(t.dtype()));
  TRIREME_DISPATCH(fill, ctx, t, value);
}

void scale(Context& ctx, const Tensor& t, float factor) {
  expect_compute_type("scale", "t", t);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(t)}, scale, ctx, t, factor);
}

float rounded_to(DType dtype, float x) {
  float result = x;
  with_compute_type(dtype, [&]<class T>(T) { result = static_cast<float>(T(x)); });
  return result;
}

void soft_cap(Context& ctx, const Columns& x, float cap) {
  expect_matrix("soft_cap", "x", x);
  expect_compute_type("soft_cap", "x", x.matrix);
  TRIREME_CHECK(cap > 0 && std::isfinite(cap), "soft_cap: a cap of {}", cap);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(x)}, soft_cap, ctx, x, cap);
}

void add(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y) {
  expect_compute_type("add", "a", a);
  for (const auto& [name, t] : {std::pair{"b", &b}, {"y", &y}}) {
    expect_shape("add", name, *t, a.shape());
    expect_dtype("add", name, *t, a.dtype());
  }
  TRIREME_DISPATCH(add, ctx, a, b, y);
}

void zero_where(Context& ctx, const Tensor& where, const Tensor& t) {
  expect_compute_type("zero_where", "t", t);
  expect_numel("zero_where", "where", where, t.numel());
  expect_dtype("zero_where", "where", where, DType::u8);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(t)}, zero_where, ctx, where, t);
}

void accumulate(Context& ctx, const Tensor& x, const Tensor& y) {
  expect_compute_type("accumulate", "x", x);
  expect_numel("accumulate", "y", y, x.numel());
  expect_dtype("accumulate", "y", y, DType::f32);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(y)}, accumulate, ctx, x, y);
}

void copy(Context& ctx, const Tensor& from, const Tensor& to) {
  TRIREME_CHECK(from, "copy: from is undefined");
  expect_numel("copy", "to", to, from.numel());
  TRIREME_CHECK(from.dtype() == to.dtype() || (is_compute_type(from.dtype()) && is_compute_type(to.dtype())),
                "copy: {} does not convert to {}", to_string(from.dtype()), to_string(to.dtype()));
  TRIREME_DISPATCH(copy, ctx, from, to);
}

void copy_columns(Context& ctx, const Columns& from, const Columns& to) {
  expect_columns("copy_columns", "from", from, from.rows(), from.count);
  expect_columns("copy_columns", "to", to, from.rows(), from.count);
  expect_dtype("copy_columns", "to", to.matrix, from.matrix.dtype());
  TRIREME_DISPATCH(copy_columns, ctx, from, to);
}

void add_sum(Context& ctx, const Tensor& t, const Tensor& out) {
  check_sum("add_sum", t, out);
  TRIREME_DISPATCH(add_sum, ctx, t, out);
}

void add_sum_of_squares(Context& ctx, const Tensor& t, const Tensor& out) {
  check_sum("add_sum_of_squares", t, out);
  TRIREME_DISPATCH(add_sum_of_squares, ctx, t, out);
}

void block_sums_of_squares(Context& ctx, const Tensor& t, const Tensor& sums) {
  expect_compute_type("block_sums_of_squares", "t", t);
  TRIREME_CHECK(t.numel() % kSumBlock == 0,
                "block_sums_of_squares: t has {} elements, not whole blocks of {}", t.numel(), kSumBlock);
  expect_numel("block_sums_of_squares", "sums", sums, t.numel() / kSumBlock);
  expect_dtype("block_sums_of_squares", "sums", sums, DType::f64);
  TRIREME_DISPATCH(block_sums_of_squares, ctx, t, sums);
}

void add_in_order(Context& ctx, const Tensor& sums, const Tensor& out) {
  expect_dtype("add_in_order", "sums", sums, DType::f64);
  expect_shape("add_in_order", "out", out, {1});
  expect_dtype("add_in_order", "out", out, DType::f64);
  TRIREME_DISPATCH(add_in_order, ctx, sums, out);
}

}  // namespace trireme::ops
