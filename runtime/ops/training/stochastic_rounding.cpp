#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::ops {

void expect_ranges(const char* op, int64_t numel, std::span<const ElementRange> ranges) {
  int64_t at = 0;
  for (const ElementRange& r : ranges) {
    TRIREME_CHECK(at <= r.begin && r.begin <= r.end && r.end <= numel,
                  "{}: range [{}, {}) after {} of {} elements", op, r.begin, r.end, at, numel);
    TRIREME_CHECK(r.first >= 0 && r.first + r.end - r.begin <= r.shape.numel(),
                  "{}: {} elements from {} on of a block of {}", op, r.end - r.begin, r.first,
                  to_string(r.shape));
    at = r.end;
  }
}

void round_stochastically(Context& ctx, const Tensor& x, const Tensor& number,
                          std::span<const ElementRange> ranges, const Tensor& y) {
  expect_dtype("round_stochastically", "x", x, DType::f32);
  expect_dtype("round_stochastically", "y", y, DType::bf16);
  expect_dtype("round_stochastically", "number", number, DType::f64);
  expect_shape("round_stochastically", "number", number, {1});
  TRIREME_CHECK(x.numel() == y.numel(), "round_stochastically: x is {}, y is {}", to_string(x.shape()),
                to_string(y.shape()));
  expect_ranges("round_stochastically", x.numel(), ranges);
  TRIREME_DISPATCH(round_stochastically, ctx, x, number, ranges, y);
}

}  // namespace trireme::ops
