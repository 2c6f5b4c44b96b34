// Products with packed weights: each part its columns, and nothing but a forward pass.
#include <gtest/gtest.h>

#include "parallel/tensor_parallel/linear_products.h"
#include "tests/support/expect_error.h"
#include "tests/support/shared_contexts.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

class PackedProducts : public SharedContexts {
 protected:
  static WeightView packed(Context& ctx, const Tensor& w, std::initializer_list<int64_t> outputs) {
    auto block = std::make_shared<PackedBlock>();
    const std::vector<float> values = to_vector(w);
    int64_t first = 0;
    for (const int64_t count : outputs) {
      block->parts.push_back(
          ops::pack_rows(ctx, {}, 1, count, w.dim(1), [&](int64_t row, std::span<float> to) {
            std::copy_n(values.begin() + (first + row) * w.dim(1), to.size(), to.begin());
          }));
      first += count;
    }
    return {.values = {}, .format = WeightFormat::packed, .packed = std::move(block)};
  }
};

TEST_F(PackedProducts, OfSeveralPartsAreThoseOfOneMatrix) {
  Context& ctx = context();
  const Tensor x = random_tensor(ctx, {5, 24}, DType::f32, 1),
               w = random_tensor(ctx, {17, 24}, DType::f32, 2);
  const Tensor some_bias = random_tensor(ctx, {17}, DType::f32, 3);
  const LinearProducts products({WeightFormat::float8});  // does not count
  for (const Tensor& bias : {some_bias, Tensor()}) {
    const Tensor expected = Tensor::empty(ctx, {5, 17}, DType::f32),
                 h = Tensor::empty(ctx, {5, 17}, DType::f32);
    const Tensor activated = Tensor::empty(ctx, {5, 17}, DType::f32),
                 a = Tensor::empty(ctx, {5, 17}, DType::f32);
    ops::linear_gelu(ctx, x, w, bias, expected, activated);
    const WeightView view = packed(ctx, w, {9, 1, 7});
    EXPECT_EQ(view.num_outputs(), 17);
    const ops::Columns y = widened(ctx, h, 2, 1);
    products.forward(ctx, x, view, bias, y);
    EXPECT_EQ(to_vector(y), to_vector(expected));  // which looks at what lies beside too
    products.forward_gelu(ctx, x, view, bias, h, a);
    EXPECT_EQ(to_vector(h), to_vector(expected));
    EXPECT_EQ(to_vector(a), to_vector(activated));
  }
}

TEST_F(PackedProducts, HaveNoBackwardPass) {
  Context& ctx = context();
  const Tensor w = random_tensor(ctx, {17, 24}, DType::f32, 2),
               dy = random_tensor(ctx, {5, 17}, DType::f32, 3);
  const Tensor dx = Tensor::empty(ctx, {5, 24}, DType::f32);
  const WeightView view = packed(ctx, w, {17});
  expect_error(ExitCode::internal, {"packed"}, [&] { LinearProducts().backward_input(ctx, dy, view, dx); });
  expect_error(ExitCode::internal, {"packed"},
               [&] { LinearProducts().backward_input_gelu(ctx, dy, view, dx, dx); });
}

}  // namespace
}  // namespace trireme::test
