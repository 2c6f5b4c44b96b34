#include "runtime/ops/random.h"

namespace trireme::ops {

void fill_normal(Context& ctx, const Tensor& t, uint64_t seed, std::string_view name, const Shape& global,
                 const Shape& offset, float mean, float std) {
  expect_dtype("fill_normal", "t", t, DType::f32);
  const Shape& shape = t.shape();
  TRIREME_CHECK(shape.rank() == global.rank() && shape.rank() == offset.rank(),
                "fill_normal: {}: {} at {} of {}", name, to_string(shape), to_string(offset),
                to_string(global));
  for (int i = 0; i < shape.rank(); ++i) {
    TRIREME_CHECK(offset[i] + shape[i] <= global[i], "fill_normal: {}: {} at {} reaches out of {}", name,
                  to_string(shape), to_string(offset), to_string(global));
  }
  TRIREME_DISPATCH(fill_normal, ctx, t, seed, name, global, offset, mean, std);
}

void jitter(Context& ctx, const JitterOptions& options, const Tensor& positions, int64_t first_row,
            const Tensor& x, const Tensor& y) {
  expect_compute_type("jitter", "x", x);
  TRIREME_CHECK(x.shape().rank() == 2, "jitter: x is {}", to_string(x.shape()));
  expect_shape("jitter", "y", y, x.shape());
  expect_dtype("jitter", "y", y, x.dtype());
  expect_dtype("jitter", "positions", positions, DType::i32);
  TRIREME_CHECK(0 <= first_row && first_row + x.dim(0) <= positions.numel(),
                "jitter: rows {} to {} of {} positions", first_row, first_row + x.dim(0), positions.numel());
  TRIREME_CHECK(0 <= options.eps && options.eps < 1, "jitter: eps is {}", options.eps);
  TRIREME_CHECK(options.rows_per_sample > 0, "jitter: {} rows a sample", options.rows_per_sample);
  TRIREME_DISPATCH(jitter, ctx, options, positions, first_row, x, y);
}

}  // namespace trireme::ops
