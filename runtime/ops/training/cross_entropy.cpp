#include "runtime/ops/training/cross_entropy.h"

#include <cmath>

namespace trireme::ops {

namespace {

void check_inputs(const char* op, const Columns& logits, const Tensor& targets, const CrossEntropyOptions& o,
                  const Tensor& weights = {}) {
  TRIREME_CHECK(o.soft_cap >= 0 && std::isfinite(o.soft_cap), "{}: a soft cap of {}", op, o.soft_cap);
  TRIREME_CHECK(o.z_loss >= 0 && std::isfinite(o.z_loss), "{}: a z-loss of {}", op, o.z_loss);
  TRIREME_CHECK(o.label_smoothing >= 0 && o.label_smoothing < 1, "{}: label smoothing of {}", op,
                o.label_smoothing);
  expect_matrix(op, "logits", logits);
  expect_compute_type(op, "logits", logits.matrix);
  expect_shape(op, "targets", targets, {logits.rows()});
  expect_dtype(op, "targets", targets, DType::i32);
  if (!weights) return;
  expect_shape(op, "weights", weights, {logits.rows()});
  expect_dtype(op, "weights", weights, DType::f32);
}

void check_outputs(const char* op, const Columns& logits, const Tensor& loss, const Columns& dlogits,
                   const Tensor& added) {
  expect_shape(op, "loss", loss, {logits.rows()});
  expect_dtype(op, "loss", loss, DType::f32);
  if (added) {
    expect_shape(op, "added", added, {logits.rows()});
    expect_dtype(op, "added", added, DType::f32);
  }
  if (!dlogits) return;
  expect_columns(op, "dlogits", dlogits, logits.rows(), logits.count);
  expect_dtype(op, "dlogits", dlogits.matrix, logits.dtype());
}

void check_part(const char* op, const Columns& logits, const TablePart& part) {
  TRIREME_CHECK(part.first >= 0 && part.first + logits.count <= part.total, "{}: columns {}.. of {}, {} here",
                op, part.first, part.total, logits.count);
}

}  // namespace

void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets,
                   const CrossEntropyOptions& options, const Tensor& loss, const Columns& dlogits,
                   const Tensor& added, const Tensor& weights) {
  check_inputs("cross_entropy", logits, targets, options, weights);
  check_outputs("cross_entropy", logits, loss, dlogits, added);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy, ctx, logits, targets, options, loss, dlogits, added, weights);
}

void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const CrossEntropyOptions& options,
                              const Tensor& statistics) {
  const char* op = "cross_entropy_statistics";
  check_inputs(op, logits, targets, options);
  check_part(op, logits, part);
  expect_shape(op, "statistics", statistics, {logits.rows(), kCrossEntropyStatistics});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy_statistics, ctx, logits, targets, part, options, statistics);
}

void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const CrossEntropyOptions& options, const Tensor& statistics, const Tensor& loss,
                           const Columns& dlogits, const Tensor& added, const Tensor& weights) {
  const char* op = "cross_entropy_of_part";
  check_inputs(op, logits, targets, options, weights);
  check_part(op, logits, part);
  check_outputs(op, logits, loss, dlogits, added);
  TRIREME_CHECK(statistics && statistics.shape().rank() == 3 && statistics.dim(0) >= 1,
                "{}: statistics are {}", op, to_string(statistics.shape()));
  expect_shape(op, "statistics", statistics, {statistics.dim(0), logits.rows(), kCrossEntropyStatistics});
  expect_dtype(op, "statistics", statistics, DType::f32);
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(cross_entropy_of_part, ctx, logits, targets, part, options, statistics, loss, dlogits,
                   added, weights);
}

}  // namespace trireme::ops
