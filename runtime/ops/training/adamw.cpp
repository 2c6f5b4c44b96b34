#include "runtime/ops/training/adamw.h"

#include <cmath>

namespace trireme::ops {

namespace {

void check_state(Context& ctx, const char* op, const AdamWOptions& options, const Tensor& gradient,
                 const Tensor& w, const Tensor& m, const Tensor& v) {
  expect_shape(op, "update", options.update, {kAdamWUpdateSize});
  expect_dtype(op, "update", options.update, DType::f64);
  expect_on_device(op, ctx.device(), options.update);
  if (options.gradient_scale) {
    expect_shape(op, "gradient_scale", options.gradient_scale, {1});
    expect_dtype(op, "gradient_scale", options.gradient_scale, DType::f32);
    expect_on_device(op, ctx.device(), options.gradient_scale);
  }
  for (const auto& [name, t] : {std::pair{"gradient", &gradient}, {"m", &m}, {"v", &v}}) {
    expect_dtype(op, name, *t, DType::f32);
    TRIREME_CHECK(t->numel() == w.numel(), "{}: {} is {}, w is {}", op, name, to_string(t->shape()),
                  to_string(w.shape()));
  }
}

/// 1 / (1 - beta^step)
double bias_correction(double beta, int64_t step) {
  return 1.0 / (1.0 - std::pow(beta, static_cast<double>(step)));
}

}  // namespace

std::vector<double> adamw_update(const AdamWOptions& options, double lr, int64_t step) {
  TRIREME_CHECK(step >= 1, "adamw: update number {}, the first is 1", step);
  return {lr, bias_correction(options.beta1, step), bias_correction(options.beta2, step),
          static_cast<double>(step)};
}

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  expect_dtype("adamw", "w", w, DType::f32);
  check_state(ctx, "adamw", options, gradient, w, m, v);
  if (copy) {
    expect_compute_type("adamw", "copy", copy);
    TRIREME_CHECK(copy.numel() == w.numel(), "adamw: copy is {}, w is {}", to_string(copy.shape()),
                  to_string(w.shape()));
  }
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(w, m, v)}, adamw, ctx, options, gradient, w, m, v, copy);
}

void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges) {
  expect_dtype("adamw_stochastic", "w", w, DType::bf16);
  check_state(ctx, "adamw_stochastic", options, gradient, w, m, v);
  expect_ranges("adamw_stochastic", w.numel(), ranges);
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(w, m, v)}, adamw_stochastic, ctx, options, gradient, w,
                        m, v, ranges);
}

}  // namespace trireme::ops
