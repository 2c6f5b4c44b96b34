#include "runtime/ops/training/clip.h"

namespace trireme::ops {

void clip_factor(Context& ctx, const ClipOptions& options, const Tensor& weight, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor) {
  for (const auto& [name, t] : {std::pair{"weight", &weight}, {"squares", &squares}, {"norm", &norm}}) {
    expect_shape("clip_factor", name, *t, {1});
    expect_dtype("clip_factor", name, *t, DType::f64);
  }
  expect_shape("clip_factor", "factor", factor, {1});
  expect_dtype("clip_factor", "factor", factor, DType::f32);
  TRIREME_DISPATCH(clip_factor, ctx, options, weight, squares, norm, factor);
}

}  // namespace trireme::ops
