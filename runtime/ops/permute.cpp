#include "runtime/ops/permute.h"

namespace trireme::ops {

namespace {

// `by_token` [N,C] and `by_expert` [R,C] of one type, slots [N,k].
void check(const char* op, const Tensor& by_token, const Tensor& slots, const Tensor& by_expert) {
  expect_compute_type(op, "rows of tokens", by_token);
  expect_dtype(op, "rows of experts", by_expert, by_token.dtype());
  expect_dtype(op, "slots", slots, DType::i32);
  TRIREME_CHECK(by_token.shape().rank() == 2 && slots.shape().rank() == 2 && slots.dim(0) == by_token.dim(0),
                "{}: {} rows of tokens, slots {}", op, to_string(by_token.shape()), to_string(slots.shape()));
  expect_shape(op, "rows of experts", by_expert, {by_expert.dim(0), by_token.dim(1)});
}

void expect_gates(const char* op, const char* argument, const Tensor& gates, const Tensor& slots) {
  expect_dtype(op, argument, gates, DType::f32);
  expect_shape(op, argument, gates, slots.shape());
}

}  // namespace

void permute_rows(Context& ctx, const Tensor& x, const Tensor& slots, const Tensor& out) {
  check("permute_rows", x, slots, out);
  TRIREME_DISPATCH(permute_rows, ctx, x, slots, out);
}

void combine_rows(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                  const Tensor& out) {
  check("combine_rows", out, slots, y);
  if (gates) expect_gates("combine_rows", "gates", gates, slots);
  TRIREME_DISPATCH(combine_rows, ctx, y, slots, gates, out);
}

void combine_rows_backward(Context& ctx, const Tensor& y, const Tensor& slots, const Tensor& gates,
                           const Tensor& dout, const Tensor& dy, const Tensor& dgates) {
  check("combine_rows_backward", dout, slots, y);
  check("combine_rows_backward", dout, slots, dy);
  expect_shape("combine_rows_backward", "dy", dy, y.shape());
  expect_gates("combine_rows_backward", "gates", gates, slots);
  expect_gates("combine_rows_backward", "dgates", dgates, slots);
  TRIREME_DISPATCH(combine_rows_backward, ctx, y, slots, gates, dout, dy, dgates);
}

}  // namespace trireme::ops
