#include "models/layers/matmul_policies.h"

#include <string>

#include <gtest/gtest.h>

#include "runtime/ops/gemm/float8.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

ParameterBlock matrix(const std::string& name) {
  return single(Parameter::whole(name + ".weight", {16, 16}, 0, 0));
}

TEST(MatmulPolicies, LinearLayersOfBlocksAreIn8BitsAndNothingElse) {
  const MatmulPolicies in_8_bits{.float8 = true};
  for (const char* name : {"layers.0.attention.query", "layers.12.attention.output", "layers.3.ffn.up",
                           "layers.3.ffn.down", "layers.3.ffn.shared.up"}) {
    EXPECT_EQ(in_8_bits.of(matrix(name)).operands, WeightFormat::float8) << name;
    EXPECT_EQ(MatmulPolicies{}.of(matrix(name)), MatmulPolicy{}) << name;
  }
  for (const char* name : {"head", "embedding.tokens", "layers.3.ffn.router", "layers.3.ffn.experts.7.up"})
    EXPECT_EQ(in_8_bits.of(matrix(name)), MatmulPolicy{}) << name;
}

// A weight that comes in 8 bits gives the bits of one that the policy quantizes.
TEST(WeightView, AWeightIn8BitsIsMultipliedAsItIs) {
  Context ctx;
  const Tensor x = test::random_tensor(ctx, {5, 32}, DType::bf16, 1),
               w = test::random_tensor(ctx, {16, 32}, DType::bf16, 2),
               dy = test::random_tensor(ctx, {5, 16}, DType::bf16, 3);
  const ops::ScaledTensor codes{Tensor::empty(ctx, {16, 32}, DType::f8e4m3),
                                Tensor::empty(ctx, {1}, DType::f32)};
  ops::quantize(ctx, w, codes);
  const WeightView plain{w}, quantized{codes.values, codes.scale, WeightFormat::float8};
  const LinearProducts by_policy(MatmulPolicy{WeightFormat::float8}), by_weight;
  const auto products = [&](const LinearProducts& linear, const WeightView& weight) {
    const Tensor y = Tensor::empty(ctx, {5, 16}, DType::bf16), dx = Tensor::empty(ctx, {5, 32}, DType::bf16);
    linear.forward(ctx, x, weight, Tensor(), y);
    linear.backward_input(ctx, dy, weight, dx);
    return std::pair(test::to_vector(y), test::to_vector(dx));
  };
  EXPECT_EQ(products(by_weight, quantized), products(by_policy, plain));
  EXPECT_NE(products(by_weight, quantized), products(by_weight, plain));
}

}  // namespace
}  // namespace trireme
