#include "runtime/ops/training/finite.h"

namespace trireme::ops {

void find_nonfinite(Context& ctx, const Tensor& t, const Tensor& first) {
  TRIREME_CHECK(t && (is_compute_type(t.dtype()) || t.dtype() == DType::f64), "find_nonfinite: t is {}",
                t ? to_string(t.dtype()) : "undefined");
  expect_shape("find_nonfinite", "first", first, {1});
  expect_dtype("find_nonfinite", "first", first, DType::i64);
  TRIREME_DISPATCH(find_nonfinite, ctx, t, first);
}

void propagate_nonfinite(Context& ctx, const Tensor& x, const Tensor& out) {
  for (const auto& [name, t] : {std::pair{"x", &x}, {"out", &out}}) {
    expect_shape("propagate_nonfinite", name, *t, {1});
    expect_dtype("propagate_nonfinite", name, *t, DType::f64);
  }
  TRIREME_DISPATCH(propagate_nonfinite, ctx, x, out);
}

}  // namespace trireme::ops
