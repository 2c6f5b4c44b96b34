#include "runtime/ops/training/muon.h"

#include <utility>

namespace trireme::ops {

namespace {

void expect_equal_size(const char* op, const char* argument, const Tensor& t, const Tensor& like) {
  TRIREME_CHECK(t.numel() == like.numel(), "{}: {} is {} beside {}", op, argument, to_string(t.shape()),
                to_string(like.shape()));
}

void check_options(Context& ctx, const char* op, const MuonOptions& options) {
  expect_shape(op, "gradient_scale", options.gradient_scale, {1});
  expect_dtype(op, "gradient_scale", options.gradient_scale, DType::f32);
  expect_on_device(op, ctx.device(), options.gradient_scale);
}

}  // namespace

std::vector<double> muon_update(double lr, int64_t number) {
  TRIREME_CHECK(number >= 1, "muon: update number {}, the first is 1", number);
  return {lr, static_cast<double>(number)};
}

void muon_momentum(Context& ctx, const MuonOptions& options, const Tensor& gradient, const Tensor& m,
                   const Tensor& direction) {
  check_options(ctx, "muon_momentum", options);
  for (const auto& [name, t] : {std::pair{"gradient", &gradient}, {"m", &m}, {"direction", &direction}}) {
    if (!*t && t == &direction) continue;
    expect_dtype("muon_momentum", name, *t, DType::f32);
    expect_equal_size("muon_momentum", name, *t, gradient);
  }
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(m)}, muon_momentum, ctx, options, gradient, m,
                        direction);
}

void muon_normalize(Context& ctx, const Tensor& x, const Tensor& squares, const Tensor& y) {
  expect_dtype("muon_normalize", "x", x, DType::f32);
  expect_shape("muon_normalize", "squares", squares, {1});
  expect_dtype("muon_normalize", "squares", squares, DType::f64);
  expect_compute_type("muon_normalize", "y", y);
  expect_equal_size("muon_normalize", "y", y, x);
  TRIREME_DISPATCH(muon_normalize, ctx, x, squares, y);
}

void muon_apply(Context& ctx, const MuonOptions& options, const Tensor& orthogonal, const Tensor& w,
                const Tensor& copy) {
  check_options(ctx, "muon_apply", options);
  expect_shape("muon_apply", "update", options.update, {kMuonUpdateSize});
  expect_dtype("muon_apply", "update", options.update, DType::f64);
  expect_on_device("muon_apply", ctx.device(), options.update);
  expect_compute_type("muon_apply", "orthogonal", orthogonal);
  expect_dtype("muon_apply", "w", w, DType::f32);
  expect_equal_size("muon_apply", "w", w, orthogonal);
  if (copy) {
    expect_compute_type("muon_apply", "copy", copy);
    expect_equal_size("muon_apply", "copy", copy, w);
  }
  TRIREME_DISPATCH_WORK({.rewritten_bytes = bytes_of(w)}, muon_apply, ctx, options, orthogonal, w, copy);
}

}  // namespace trireme::ops
