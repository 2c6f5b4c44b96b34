#include "runtime/ops/embedding.h"

namespace trireme::ops {

namespace {

void check_ids(const char* op, const char* argument, const Tensor& ids, int64_t rows) {
  expect_shape(op, argument, ids, {rows});
  expect_dtype(op, argument, ids, DType::i32);
}

void check_table(const char* op, const char* argument, const Tensor& table, int64_t width, DType dtype) {
  TRIREME_CHECK(table && table.shape().rank() == 2, "{}: {} is no matrix", op, argument);
  expect_shape(op, argument, table, {table.dim(0), width});
  expect_dtype(op, argument, table, dtype);
}

void check_part(const char* op, const Tensor& table, const TablePart& part) {
  TRIREME_CHECK(part.first >= 0 && part.first + table.dim(0) <= part.total,
                "{}: rows {}.. of a table of {}, {} here", op, part.first, part.total, table.dim(0));
}

}  // namespace

void embedding(Context& ctx, const Tensor& ids, const Tensor& token_table, const TablePart& part,
               const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  expect_compute_type("embedding", "out", out);
  TRIREME_CHECK(out.shape().rank() == 2, "embedding: out is {}", to_string(out.shape()));
  check_ids("embedding", "ids", ids, out.dim(0));
  check_table("embedding", "token_table", token_table, out.dim(1), out.dtype());
  check_part("embedding", token_table, part);
  TRIREME_CHECK(static_cast<bool>(positions) == static_cast<bool>(position_table),
                "embedding: positions and position_table must be given together");
  if (positions) {
    check_ids("embedding", "positions", positions, out.dim(0));
    check_table("embedding", "position_table", position_table, out.dim(1), out.dtype());
  }
  // Of the tables as much as the rows that are wanted.
  const double bytes = bytes_of(ids, positions) + (positions ? 3 : 2) * bytes_of(out);
  TRIREME_DISPATCH_WORK({.bytes = bytes}, embedding, ctx, ids, token_table, part, positions, position_table,
                        out);
}

void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dout, const TablePart& part,
                        const Tensor& dtable) {
  expect_compute_type("embedding_backward", "dout", dout);
  TRIREME_CHECK(dout.shape().rank() == 2, "embedding_backward: dout is {}", to_string(dout.shape()));
  check_ids("embedding_backward", "ids", ids, dout.dim(0));
  check_table("embedding_backward", "dtable", dtable, dout.dim(1), DType::f32);
  check_part("embedding_backward", dtable, part);
  const double rows = 2 * bytes_of(dout) * static_cast<double>(size_of(DType::f32)) /
                      static_cast<double>(size_of(dout.dtype()));  // read and written
  TRIREME_DISPATCH_WORK({.bytes = bytes_of(ids, dout) + rows}, embedding_backward, ctx, ids, dout, part,
                        dtable);
}

}  // namespace trireme::ops
