#include "runtime/ops/packed/packed_linear.h"

#include <numeric>

namespace trireme::ops {

namespace {

// Rows and activations from or to memory once, the weights once: what decoding is bound by.
OpWork work_of(const Tensor& x, const PackedWeight& w, const Columns& y) {
  return {.flops = 2.0 * static_cast<double>(x.dim(0) * w.outputs * w.inputs),
          .bytes = bytes_of(x, y) + static_cast<double>(w.data.bytes())};
}

void expect_output(const char* op, const Tensor& x, const Columns& y) {
  TRIREME_CHECK(y.dtype() == x.dtype() || y.dtype() == DType::f32, "{}: y is {} beside x of {}", op,
                trireme::to_string(y.dtype()), trireme::to_string(x.dtype()));
}

/// x by the places that its inputs have in rows of w.
Tensor by_places(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const PackedWeight& w) {
  if (!w.order) return x;
  const Tensor ordered = Tensor::empty(ctx, x.shape(), x.dtype(), MemoryCategory::buffers);
  int64_t row = 0;
  for (int64_t m = 0; m < w.matrices; ++m) {
    const int64_t end = row + counts[static_cast<size_t>(m)];
    if (end > row) order_columns(ctx, x.slice(row, end), w.order.slice(m, m + 1), ordered.slice(row, end));
    row = end;
  }
  return ordered;
}

}  // namespace

void order_columns(Context& ctx, const Tensor& x, const Tensor& order, const Tensor& out) {
  expect_compute_type("order_columns", "x", x);
  expect_shape("order_columns", "x", x, {x.dim(0), order.numel()});
  expect_dtype("order_columns", "order", order, DType::i32);
  expect_shape("order_columns", "out", out, x.shape());
  expect_dtype("order_columns", "out", out, x.dtype());
  if (x.dim(0) == 0) return;
  TRIREME_DISPATCH(order_columns, ctx, x, order, out);
}

void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, Activations activations,
                   const Tensor& bias, const Columns& y) {
  expect_compute_type("packed_linear", "x", x);
  expect_output("packed_linear", x, y);
  TRIREME_CHECK(w.matrices == 1, "packed_linear: {} matrices", w.matrices);
  expect_shape("packed_linear", "x", x, {x.dim(0), w.inputs});
  expect_columns("packed_linear", "y", y, x.dim(0), w.outputs);
  if (bias) {
    expect_shape("packed_linear", "bias", bias, {w.outputs});
    expect_dtype("packed_linear", "bias", bias, DType::f32);
  }
  expect_on_device("packed_linear", ctx.device(), w.data);
  if (x.dim(0) == 0) return;
  const int64_t rows = x.dim(0);
  const Tensor placed = by_places(ctx, x, {&rows, 1}, w);
  TRIREME_DISPATCH_WORK(work_of(x, w, y), packed_linear, ctx, placed, w, activations, bias, y);
}

void packed_grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                           const PackedWeight& w, Activations activations, const Tensor& y) {
  expect_compute_type("packed_grouped_linear", "x", x);
  expect_dtype("packed_grouped_linear", "y", y, x.dtype());
  TRIREME_CHECK(std::ssize(counts) == w.matrices, "packed_grouped_linear: {} counts for {} matrices",
                counts.size(), w.matrices);
  TRIREME_CHECK(std::accumulate(counts.begin(), counts.end(), int64_t{0}) == x.dim(0),
                "packed_grouped_linear: counts are not those of {} rows", x.dim(0));
  expect_shape("packed_grouped_linear", "x", x, {x.dim(0), w.inputs});
  expect_shape("packed_grouped_linear", "y", y, {x.dim(0), w.outputs});
  expect_on_device("packed_grouped_linear", ctx.device(), w.data);
  if (x.dim(0) == 0) return;
  const Tensor placed = by_places(ctx, x, counts, w);
  TRIREME_DISPATCH_WORK(work_of(x, w, y), packed_grouped_linear, ctx, placed, counts, w, activations, y);
}

void packed_embedding(Context& ctx, const Tensor& ids, const PackedWeight& table, const TablePart& part,
                      const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  expect_compute_type("packed_embedding", "out", out);
  TRIREME_CHECK(table.matrices == 1, "packed_embedding: {} matrices", table.matrices);
  expect_dtype("packed_embedding", "ids", ids, DType::i32);
  expect_shape("packed_embedding", "out", out, {ids.dim(0), table.inputs});
  TRIREME_CHECK(static_cast<bool>(positions) == static_cast<bool>(position_table),
                "packed_embedding: positions and their table come together");
  expect_on_device("packed_embedding", ctx.device(), table.data);
  if (ids.dim(0) == 0) return;
  TRIREME_DISPATCH(packed_embedding, ctx, ids, table, part, positions, position_table, out);
}

}  // namespace trireme::ops
