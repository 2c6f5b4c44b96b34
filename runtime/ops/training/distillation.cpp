#include "runtime/ops/training/distillation.h"

#include <cmath>

namespace trireme::ops {

namespace {

void check_options(const char* op, const DistillationOptions& o) {
  const CrossEntropyOptions& e = o.entropy;
  TRIREME_CHECK(e.soft_cap >= 0 && e.z_loss >= 0 && e.label_smoothing >= 0 && e.label_smoothing < 1,
                "{}: soft cap {}, z-loss {}, label smoothing {}", op, e.soft_cap, e.z_loss,
                e.label_smoothing);
  TRIREME_CHECK(o.weight >= 0 && o.weight <= 1 && o.temperature > 0 && std::isfinite(o.temperature),
                "{}: a weight of {} at temperature {}", op, o.weight, o.temperature);
  const Divergence& d = o.divergence;
  TRIREME_CHECK(d.mix >= 0 && d.mix <= 1 && d.of_teacher >= 0 && d.of_teacher <= 1 &&
                    (d.mix > 0 || d.of_teacher == 1) && (d.mix < 1 || d.of_teacher == 0),
                "{}: a divergence of mix {}, {} of the teacher", op, d.mix, d.of_teacher);
}

void check_teacher(const char* op, const Context& ctx, const Columns& logits, const TeacherOfRows& t,
                   const Divergence& divergence) {
  TRIREME_CHECK(bool(t.logits) != bool(t.ids), "{}: needs a teacher's logits, or its few tokens", op);
  expect_device(op, ctx.device(), t.logits, t.ids, t.probabilities);
  if (t.logits) {
    expect_columns(op, "teacher's logits", t.logits, logits.rows(), logits.count);
    expect_compute_type(op, "teacher's logits", t.logits.matrix);
    TRIREME_CHECK(t.soft_cap >= 0 && std::isfinite(t.soft_cap), "{}: a teacher's soft cap of {}", op,
                  t.soft_cap);
    return;
  }
  TRIREME_CHECK(t.ids.shape().rank() == 2 && t.ids.dim(1) > 0, "{}: ids are {}", op,
                to_string(t.ids.shape()));
  expect_shape(op, "ids", t.ids, {logits.rows(), t.ids.dim(1)});
  expect_dtype(op, "ids", t.ids, DType::i32);
  expect_shape(op, "probabilities", t.probabilities, t.ids.shape());
  expect_dtype(op, "probabilities", t.probabilities, DType::f32);
  TRIREME_CHECK(t.has_rest || divergence.is_forward(), "{}: sampled tokens serve forward KL alone", op);
}

void check_inputs(const char* op, const Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const TeacherOfRows& teacher, const DistillationOptions& options) {
  check_options(op, options);
  expect_matrix(op, "logits", logits);
  expect_compute_type(op, "logits", logits.matrix);
  expect_shape(op, "targets", targets, {logits.rows()});
  expect_dtype(op, "targets", targets, DType::i32);
  TRIREME_CHECK(part.first >= 0 && part.first + logits.count <= part.total, "{}: columns {}.. of {}, {} here",
                op, part.first, part.total, logits.count);
  check_teacher(op, ctx, logits, teacher, options.divergence);
}

void check_parts(const char* op, const char* argument, const Tensor& t, int64_t rows, int64_t numbers) {
  TRIREME_CHECK(t && t.shape().rank() == 3 && t.dim(0) >= 1, "{}: {} are {}", op, argument,
                to_string(t.shape()));
  expect_shape(op, argument, t, {t.dim(0), rows, numbers});
  expect_dtype(op, argument, t, DType::f32);
}

void check_row_values(const char* op, const char* argument, const Tensor& t, const Shape& shape) {
  expect_shape(op, argument, t, shape);
  expect_dtype(op, argument, t, DType::f32);
}

}  // namespace

void distillation_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics) {
  const char* op = "distillation_statistics";
  check_inputs(op, ctx, logits, targets, part, teacher, options);
  check_row_values(op, "statistics", statistics, {logits.rows(), kDistillationStatistics});
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(distillation_statistics, ctx, logits, targets, part, teacher, options, statistics);
}

void distillation_divergence(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics,
                             const Tensor& sums) {
  const char* op = "distillation_divergence";
  check_inputs(op, ctx, logits, targets, part, teacher, options);
  check_parts(op, "statistics", statistics, logits.rows(), kDistillationStatistics);
  check_row_values(op, "sums", sums, {logits.rows(), kDivergenceSums});
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(distillation_divergence, ctx, logits, targets, part, teacher, options, statistics, sums);
}

void distillation(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                  const TeacherOfRows& teacher, const DistillationOptions& options, const Tensor& statistics,
                  const Tensor& sums, const Tensor& loss, const Columns& dlogits, const Tensor& added,
                  const Tensor& weights) {
  const char* op = "distillation";
  check_inputs(op, ctx, logits, targets, part, teacher, options);
  check_parts(op, "statistics", statistics, logits.rows(), kDistillationStatistics);
  check_parts(op, "sums", sums, logits.rows(), kDivergenceSums);
  TRIREME_CHECK(sums.dim(0) == statistics.dim(0), "{}: sums of {} parts, statistics of {}", op, sums.dim(0),
                statistics.dim(0));
  check_row_values(op, "loss", loss, {logits.rows()});
  if (added) check_row_values(op, "added", added, {logits.rows()});
  if (weights) check_row_values(op, "weights", weights, {logits.rows()});
  if (dlogits) {
    expect_columns(op, "dlogits", dlogits, logits.rows(), logits.count);
    expect_dtype(op, "dlogits", dlogits.matrix, logits.dtype());
  }
  if (logits.rows() == 0) return;
  TRIREME_DISPATCH(distillation, ctx, logits, targets, part, teacher, options, statistics, sums, loss,
                   dlogits, added, weights);
}

}  // namespace trireme::ops
