#include "runtime/ops/training/cross_entropy.h"

#include <cmath>

namespace trireme::ops {

namespace {

void check_inputs(const char* op, const Columns& logits, const Tensor& targets, float soft_cap) {
  TRIREME_CHECK(soft_cap >= 0 && std::isfinite(soft_cap), "{}: a soft cap of {}", op, soft_cap);
  expect_matrix(op, "logits", logits);
  expect_compute_type(op, "logits", logits.matrix);
  expect_shape(op, "targets", targets, {logits.rows()});
  expect_dtype(op, "targets", targets, DType::i32);
}

void check_outputs(const char* op, const Columns& logits, const Tensor& loss, const Columns& dlogits) {
  expect_shape(op, "loss", loss, {logits.rows()});
  expect_dtype(op, "loss", loss, DType::f32);
  if (!dlogits) return;
  expect_columns(op, "dlogits", dlogits, logits.rows(), logits.count);
  expect_dtype(op, "dlogits", dlogits.matrix, logits.dtype());
}

void check_part(const char* op, const Columns& logits, const TablePart& part) {
  TRIREME_CHECK(part.first >= 0 && part.first + logits.count <= part.total, "{}: columns {}.. of {}, {} here",
                op, part.first, part.total, logits.count);
}

}  // namespace

void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Columns& dlogits, float soft_cap) {
  check_inputs("cross_entropy", logits, targets, soft_cap);
  check_outputs("cross_entropy", logits, loss, dlogits);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy, ctx, logits, targets, gradient_scale, loss, dlogits, soft_cap);
}

void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const Tensor& statistics, float soft_cap) {
  const char* op = "cross_entropy_statistics";
  check_inputs(op, logits, targets, soft_cap);
  check_part(op, logits, part);
  expect_shape(op, "statistics", statistics, {logits.rows(), 3});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy_statistics, ctx, logits, targets, part, statistics, soft_cap);
}

void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const Tensor& statistics, float gradient_scale, const Tensor& loss,
                           const Columns& dlogits, float soft_cap) {
  const char* op = "cross_entropy_of_part";
  check_inputs(op, logits, targets, soft_cap);
  check_part(op, logits, part);
  check_outputs(op, logits, loss, dlogits);
  TRIREME_CHECK(statistics && statistics.shape().rank() == 3 && statistics.dim(0) >= 1,
                "{}: statistics are {}", op, to_string(statistics.shape()));
  expect_shape(op, "statistics", statistics, {statistics.dim(0), logits.rows(), 3});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy_of_part, ctx, logits, targets, part, statistics, gradient_scale, loss,
                   dlogits, soft_cap);
}

}  // namespace trireme::ops
