#include "runtime/ops/training/few_tokens.h"

#include <cmath>

namespace trireme::ops {

namespace {

void check_softmax(const char* op, const LogitSoftmax& softmax) {
  TRIREME_CHECK(softmax.temperature > 0 && std::isfinite(softmax.temperature), "{}: temperature {}", op,
                softmax.temperature);
  TRIREME_CHECK(softmax.soft_cap >= 0 && std::isfinite(softmax.soft_cap), "{}: a cap of {}", op,
                softmax.soft_cap);
}

void check_logits(const char* op, const Columns& logits, const LogitSoftmax& softmax) {
  check_softmax(op, softmax);
  expect_matrix(op, "logits", logits);
  expect_compute_type(op, "logits", logits.matrix);
}

/// [N,k] of one type, k at most kMostFewTokens; returns k.
int64_t check_few(const char* op, const char* argument, const Tensor& t, int64_t rows, DType dtype) {
  expect_dtype(op, argument, t, dtype);
  TRIREME_CHECK(t.shape().rank() == 2 && t.dim(0) == rows && t.dim(1) >= 1 && t.dim(1) <= kMostFewTokens,
                "{}: {} is {}, expected [{}, 1 to {}]", op, argument, to_string(t.shape()), rows,
                kMostFewTokens);
  return t.dim(1);
}

/// [P,N,2]; returns P.
int64_t check_statistics(const char* op, const Tensor& statistics, int64_t rows) {
  expect_dtype(op, "statistics", statistics, DType::f64);
  TRIREME_CHECK(statistics.shape().rank() == 3 && statistics.dim(0) >= 1, "{}: statistics are {}", op,
                to_string(statistics.shape()));
  expect_shape(op, "statistics", statistics, {statistics.dim(0), rows, 2});
  return statistics.dim(0);
}

}  // namespace

void softmax_statistics(Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                        const Tensor& statistics) {
  check_logits("softmax_statistics", logits, softmax);
  expect_shape("softmax_statistics", "statistics", statistics, {logits.rows(), 2});
  expect_dtype("softmax_statistics", "statistics", statistics, DType::f64);
  TRIREME_DISPATCH(softmax_statistics, ctx, logits, softmax, statistics);
}

void likeliest_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                       const Tensor& ids, const Tensor& values) {
  check_logits("likeliest_columns", logits, softmax);
  check_few("likeliest_columns", "ids", ids, logits.rows(), DType::i32);
  expect_dtype("likeliest_columns", "values", values, DType::f32);
  expect_shape("likeliest_columns", "values", values, ids.shape());
  TRIREME_DISPATCH(likeliest_columns, ctx, logits, softmax, first, ids, values);
}

void merge_likeliest(Context& ctx, const LogitSoftmax& softmax, const Tensor& statistics,
                     const Tensor& part_ids, const Tensor& part_values, const Tensor& ids,
                     const Tensor& probabilities) {
  check_softmax("merge_likeliest", softmax);
  expect_dtype("merge_likeliest", "ids", ids, DType::i32);
  const int64_t rows = ids.dim(0);
  check_few("merge_likeliest", "ids", ids, rows, DType::i32);
  expect_dtype("merge_likeliest", "probabilities", probabilities, DType::f32);
  expect_shape("merge_likeliest", "probabilities", probabilities, ids.shape());
  const int64_t parts = check_statistics("merge_likeliest", statistics, rows);
  TRIREME_CHECK(part_ids.shape().rank() == 3, "merge_likeliest: part_ids are {}",
                to_string(part_ids.shape()));
  expect_shape("merge_likeliest", "part_ids", part_ids, {parts, rows, part_ids.dim(2)});
  expect_dtype("merge_likeliest", "part_ids", part_ids, DType::i32);
  expect_shape("merge_likeliest", "part_values", part_values, part_ids.shape());
  expect_dtype("merge_likeliest", "part_values", part_values, DType::f32);
  TRIREME_DISPATCH(merge_likeliest, ctx, softmax, statistics, part_ids, part_values, ids, probabilities);
}

void draw_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                  int64_t part, const DrawOptions& options, const Tensor& places, const Tensor& statistics,
                  const Tensor& draws) {
  check_logits("draw_columns", logits, softmax);
  check_few("draw_columns", "draws", draws, logits.rows(), DType::i32);
  expect_shape("draw_columns", "places", places, {logits.rows()});
  expect_dtype("draw_columns", "places", places, DType::i32);
  const int64_t parts = check_statistics("draw_columns", statistics, logits.rows());
  TRIREME_CHECK(part >= 0 && part < parts, "draw_columns: part {} of {}", part, parts);
  TRIREME_CHECK(options.rows_a_sample > 0 && options.first_row >= 0,
                "draw_columns: {} rows a sample, from {}", options.rows_a_sample, options.first_row);
  TRIREME_DISPATCH(draw_columns, ctx, logits, softmax, first, part, options, places, statistics, draws);
}

void merge_draws(Context& ctx, const Tensor& draws, const Tensor& ids, const Tensor& probabilities) {
  expect_dtype("merge_draws", "draws", draws, DType::i32);
  check_few("merge_draws", "draws", draws, draws.dim(0), DType::i32);
  expect_dtype("merge_draws", "ids", ids, DType::i32);
  expect_shape("merge_draws", "ids", ids, draws.shape());
  expect_dtype("merge_draws", "probabilities", probabilities, DType::f32);
  expect_shape("merge_draws", "probabilities", probabilities, draws.shape());
  TRIREME_DISPATCH(merge_draws, ctx, draws, ids, probabilities);
}

}  // namespace trireme::ops
