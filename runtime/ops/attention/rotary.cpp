#include "runtime/ops/attention/rotary.h"

namespace trireme::ops {

void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse) {
  TRIREME_CHECK(head_dim > 0 && heads.count % head_dim == 0, "rotary: {} columns are no heads of {}",
                heads.count, head_dim);
  TRIREME_CHECK(positions, "rotary: positions is undefined");
  expect_columns("rotary", "heads", heads, positions.numel(), heads.count);
  expect_compute_type("rotary", "heads", heads.matrix);
  expect_shape("rotary", "positions", positions, {heads.rows()});
  expect_dtype("rotary", "positions", positions, DType::i32);
  TRIREME_CHECK(table && table.shape().rank() == 2, "rotary: table is no matrix");
  const int64_t rotated = table.dim(1);
  TRIREME_CHECK(rotated > 0 && rotated % 2 == 0 && rotated <= head_dim, "rotary: table is {} for heads of {}",
                to_string(table.shape()), head_dim);
  expect_dtype("rotary", "table", table, DType::f32);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(heads)}, rotary, ctx, heads, head_dim, positions, table,
                        inverse);
}

}  // namespace trireme::ops
