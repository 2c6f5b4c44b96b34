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

}  // namespace trireme::ops
