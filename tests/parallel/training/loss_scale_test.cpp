// What a loss scale may and may not change.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

LayoutRun scaled_run(ModelFamily family, DType precision, double scale) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.precision = precision;
  run.steps = 4;
  run.loss_scale = scale;
  return run;
}

TEST(LossScale, APowerOfTwoChangesNoBitOfAnFp32Run) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    const LayoutResult plain = run_on_one_rank(scaled_run(family, DType::f32, 1));
    for (const int power : {-40, -3, 1, 16, 31, 60}) {
      SCOPED_TRACE(power);
      const LayoutResult scaled = run_on_one_rank(scaled_run(family, DType::f32, std::ldexp(1.0, power)));
      EXPECT_EQ(scaled.losses, plain.losses);
      EXPECT_EQ(scaled.norms, plain.norms);
      EXPECT_EQ(scaled.weights, plain.weights);
    }
  }
}

TEST(LossScale, NorOfOneOverRanks) {
  LayoutRun run = scaled_run(ModelFamily::llama, DType::f32, 1);
  run.plan.tensor = 2;
  run.plan.zero_stage = 1;
  const LayoutResult plain = run_on_threads(4, run);
  run.loss_scale = 0x1p20;
  EXPECT_EQ(run_on_threads(4, run).weights, plain.weights);
}

// The cosine of the angle between two gradients of a tensor.
double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0, a_square = 0, b_square = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    a_square += static_cast<double>(a[i]) * a[i];
    b_square += static_cast<double>(b[i]) * b[i];
  }
  return product / std::sqrt(a_square * b_square);
}

TEST(LossScale, HalfTypesFollowTheGradientsOfFp32TensorByTensor) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    const LayoutResult exact = run_on_one_rank(scaled_run(family, DType::f32, 1));
    for (const auto& [precision, scale] : {std::pair{DType::bf16, 1.0}, {DType::f16, 1024.0}}) {
      const LayoutResult half = run_on_one_rank(scaled_run(family, precision, scale));
      for (const auto& [name, gradient] : exact.gradients) {
        if (name.ends_with("key.bias")) continue;  // zero but for rounding: softmax ignores it
        EXPECT_GE(cosine(half.gradients.at(name), gradient), 0.999) << name << ", " << to_string(precision);
      }
    }
  }
}

// Layouts round activations alike but for the order of sums, which now and then moves a value to its
// neighbour in the half type.
TEST(LossScale, LayoutsOfHalfTypesFollowOneRank) {
  for (const auto& [precision, scale, unit] :
       {std::tuple{DType::bf16, 1.0, 0x1p-8}, {DType::f16, 1024.0, 0x1p-11}}) {
    LayoutRun run = scaled_run(ModelFamily::gpt2, precision, scale);
    const LayoutResult one = run_on_one_rank(run);
    for (const int tensor : {1, 2}) {
      SCOPED_TRACE(fmt::format("{}, tensor {}", to_string(precision), tensor));
      run.plan.tensor = tensor;
      const LayoutResult result = run_on_threads(4, run);
      for (const auto& [name, gradient] : one.gradients) {
        if (name.ends_with("key.bias")) continue;
        EXPECT_GE(cosine(result.gradients.at(name), gradient), tensor == 1 ? 1 - 1e-9 : 0.9995) << name;
      }
      for (size_t i = 0; i < one.losses.size(); ++i) {
        EXPECT_NEAR(result.losses[i], one.losses[i], unit * one.losses[i]);
        EXPECT_NEAR(result.norms[i], one.norms[i], 4 * unit * one.norms[i]);
      }
    }
  }
}

// The reason for the scale.
TEST(LossScale, BringsBackGradientsThatFp16Loses) {
  LayoutRun run = scaled_run(ModelFamily::llama, DType::f32, 1);
  run.steps = 1;
  const LayoutResult exact = run_on_one_rank(run);
  run.precision = DType::f16;
  run.loss_scale = 0x1p-20;  // as if the gradients were that small
  const LayoutResult lost = run_on_one_rank(run);
  double worst = 1;
  for (const auto& [name, gradient] : exact.gradients) {
    worst = std::min(worst, cosine(lost.gradients.at(name), gradient));
  }
  EXPECT_LT(worst, 0.99);
}

}  // namespace
}  // namespace trireme::test
