#include "runtime/ops/routing.h"

namespace trireme::ops {

namespace {

void expect_f32(const char* op, const char* argument, const Tensor& t, const Shape& shape) {
  expect_shape(op, argument, t, shape);
  expect_dtype(op, argument, t, DType::f32);
}

void expect_runs(const char* op, const char* argument, const Tensor& t, int64_t rows) {
  expect_dtype(op, argument, t, DType::i64);
  TRIREME_CHECK(t.shape().rank() == 2 && t.dim(0) > 0 && rows % t.dim(0) == 0,
                "{}: {} is {}: {} rows do not fall into such runs", op, argument, to_string(t.shape()), rows);
}

void check_options(const char* op, const RouteOptions& o, int64_t num_experts, int64_t k) {
  TRIREME_CHECK(o.num_groups > 0 && num_experts % o.num_groups == 0 && o.groups_per_token > 0 &&
                    o.groups_per_token <= o.num_groups,
                "{}: {} of {} groups of {} experts", op, o.groups_per_token, o.num_groups, num_experts);
  TRIREME_CHECK(k > 0 && k <= num_experts / o.num_groups * o.groups_per_token, "{}: {} choices of {} experts",
                op, k, num_experts);
}

}  // namespace

void route(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& bias,
           const Tensor& probabilities, const Tensor& log_sum, const Tensor& chosen, const Tensor& gates) {
  expect_dtype("route", "chosen", chosen, DType::i32);
  const int64_t rows = chosen.dim(0), k = chosen.dim(1), num_experts = logits.dim(1);
  check_options("route", options, num_experts, k);
  expect_f32("route", "logits", logits, {rows, num_experts});
  if (bias) expect_f32("route", "bias", bias, {num_experts});
  expect_f32("route", "probabilities", probabilities, {rows, num_experts});
  expect_f32("route", "log_sum", log_sum, {rows});
  expect_f32("route", "gates", gates, {rows, k});
  TRIREME_DISPATCH(route, ctx, options, logits, bias, probabilities, log_sum, chosen, gates);
}

void route_backward(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& log_sum,
                    const Tensor& chosen, const Tensor& dgates, const Tensor& dprobabilities,
                    const Tensor& dsquares, const Tensor& dlogits) {
  expect_dtype("route_backward", "chosen", chosen, DType::i32);
  const int64_t rows = chosen.dim(0), k = chosen.dim(1), num_experts = logits.dim(1);
  check_options("route_backward", options, num_experts, k);
  expect_f32("route_backward", "logits", logits, {rows, num_experts});
  expect_f32("route_backward", "log_sum", log_sum, {rows});
  expect_f32("route_backward", "dgates", dgates, {rows, k});
  expect_f32("route_backward", "dlogits", dlogits, {rows, num_experts});
  TRIREME_CHECK(static_cast<bool>(dprobabilities) == static_cast<bool>(dsquares),
                "route_backward: one term of balance without the other");
  if (dprobabilities) {
    const int64_t runs = dsquares.dim(0);
    expect_f32("route_backward", "dprobabilities", dprobabilities, {runs, num_experts});
    expect_f32("route_backward", "dsquares", dsquares, {runs});
    TRIREME_CHECK(rows % runs == 0, "route_backward: {} rows in {} runs", rows, runs);
  }
  TRIREME_DISPATCH(route_backward, ctx, options, logits, log_sum, chosen, dgates, dprobabilities, dsquares,
                   dlogits);
}

void count_choices(Context& ctx, const Tensor& chosen, const Tensor& counts) {
  expect_dtype("count_choices", "chosen", chosen, DType::i32);
  expect_runs("count_choices", "counts", counts, chosen.dim(0));
  TRIREME_DISPATCH(count_choices, ctx, chosen, counts);
}

void assign_slots(Context& ctx, const Tensor& chosen, const Tensor& base, const Tensor& ahead,
                  int64_t capacity, const Tensor& slots) {
  expect_dtype("assign_slots", "chosen", chosen, DType::i32);
  expect_runs("assign_slots", "base", base, chosen.dim(0));
  expect_dtype("assign_slots", "ahead", ahead, DType::i64);
  expect_shape("assign_slots", "ahead", ahead, base.shape());
  expect_dtype("assign_slots", "slots", slots, DType::i32);
  expect_shape("assign_slots", "slots", slots, chosen.shape());
  TRIREME_DISPATCH(assign_slots, ctx, chosen, base, ahead, capacity, slots);
}

}  // namespace trireme::ops
