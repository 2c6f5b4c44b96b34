#include "runtime/ops/cross_entropy.h"

namespace trireme::ops {

namespace {

void check_inputs(const char* op, const Tensor& logits, const Tensor& targets) {
  TRIREME_CHECK(logits && logits.shape().rank() == 2, "{}: logits are no matrix", op);
  expect_compute_type(op, "logits", logits);
  expect_shape(op, "targets", targets, {logits.dim(0)});
  expect_dtype(op, "targets", targets, DType::i32);
}

void check_outputs(const char* op, const Tensor& logits, const Tensor& loss, const Tensor& dlogits) {
  expect_shape(op, "loss", loss, {logits.dim(0)});
  expect_dtype(op, "loss", loss, DType::f32);
  if (!dlogits) return;
  expect_shape(op, "dlogits", dlogits, logits.shape());
  expect_dtype(op, "dlogits", dlogits, logits.dtype());
}

void check_part(const char* op, const Tensor& logits, const TablePart& part) {
  TRIREME_CHECK(part.first >= 0 && part.first + logits.dim(1) <= part.total,
                "{}: columns {}.. of {}, {} here", op, part.first, part.total, logits.dim(1));
}

}  // namespace

void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Tensor& dlogits) {
  check_inputs("cross_entropy", logits, targets);
  check_outputs("cross_entropy", logits, loss, dlogits);
  if (logits.dim(0) == 0) return;
  TRIREME_DISPATCH(cross_entropy, ctx, logits, targets, gradient_scale, loss, dlogits);
}

void cross_entropy_statistics(Context& ctx, const Tensor& logits, const Tensor& targets,
                              const TablePart& part, const Tensor& statistics) {
  const char* op = "cross_entropy_statistics";
  check_inputs(op, logits, targets);
  check_part(op, logits, part);
  expect_shape(op, "statistics", statistics, {logits.dim(0), 3});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.dim(0) == 0) return;
  TRIREME_DISPATCH(cross_entropy_statistics, ctx, logits, targets, part, statistics);
}

void cross_entropy_of_part(Context& ctx, const Tensor& logits, const Tensor& targets, const TablePart& part,
                           const Tensor& statistics, float gradient_scale, const Tensor& loss,
                           const Tensor& dlogits) {
  const char* op = "cross_entropy_of_part";
  check_inputs(op, logits, targets);
  check_part(op, logits, part);
  check_outputs(op, logits, loss, dlogits);
  TRIREME_CHECK(statistics && statistics.shape().rank() == 3 && statistics.dim(0) >= 1,
                "{}: statistics are {}", op, to_string(statistics.shape()));
  expect_shape(op, "statistics", statistics, {statistics.dim(0), logits.dim(0), 3});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.dim(0) == 0) return;
  TRIREME_DISPATCH(cross_entropy_of_part, ctx, logits, targets, part, statistics, gradient_scale, loss,
                   dlogits);
}

}  // namespace trireme::ops
