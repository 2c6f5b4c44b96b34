#include "runtime/ops/adamw.h"

namespace trireme::ops {

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  TRIREME_CHECK(options.step >= 1, "adamw: step is {}, the first is 1", options.step);
  expect_dtype("adamw", "w", w, DType::f32);
  const auto expect_as_many = [&](const char* argument, const Tensor& t) {
    TRIREME_CHECK(t.numel() == w.numel(), "adamw: {} is {}, w is {}", argument, to_string(t.shape()),
                  to_string(w.shape()));
  };
  for (const auto& [name, t] : {std::pair{"gradient", &gradient}, {"m", &m}, {"v", &v}}) {
    expect_dtype("adamw", name, *t, DType::f32);
    expect_as_many(name, *t);
  }
  if (copy) {
    expect_compute_type("adamw", "copy", copy);
    expect_as_many("copy", copy);
  }
  TRIREME_DISPATCH(adamw, ctx, options, gradient, w, m, v, copy);
}

}  // namespace trireme::ops
