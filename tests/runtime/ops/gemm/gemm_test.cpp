#include "runtime/ops/gemm/gemm.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/shared_contexts.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using test::make_tensor;
using test::random_tensor;
using test::to_vector;
using test::widened;

// What rounding the result to its type may cost, relative to its size.
double epsilon(DType dtype) {
  return dtype == DType::bf16 ? 0x1p-8 : dtype == DType::f16 ? 0x1p-11 : 0x1p-23;
}

// CUDA rounds the bias to the result's type, and what it is added to where no epilogue has it.
double bias_rounding(DType dtype) {
  return test::test_device().type == DeviceType::cuda ? epsilon(dtype) : 0;
}

struct Product {
  int64_t m, n, k;
  DType in, out;
  bool with_bias = false;
  ops::GemmOptions options;
  bool wide_a = false, wide_c = false;  // rows further apart than they are long
};

// Checks ops::gemm against sums in double precision. The error allowed grows with the sum of magnitudes, as
// the error of any order of a float sum does.
void expect_product(Context& ctx, const Product& p) {
  SCOPED_TRACE(fmt::format("{}x{}x{} {}->{} ta={} tb={} accumulate={} alpha={} bias={} threads={} wide={}{}",
                           p.m, p.n, p.k, to_string(p.in), to_string(p.out), p.options.transpose_a,
                           p.options.transpose_b, p.options.accumulate, p.options.alpha, p.with_bias,
                           ctx.num_threads(), p.wide_a, p.wide_c));
  const bool ta = p.options.transpose_a, tb = p.options.transpose_b;
  const Tensor a = random_tensor(ctx, ta ? Shape{p.k, p.m} : Shape{p.m, p.k}, p.in, 1);
  const Tensor b = random_tensor(ctx, tb ? Shape{p.n, p.k} : Shape{p.k, p.n}, p.in, 2);
  const Tensor c = random_tensor(ctx, {p.m, p.n}, p.out, 3);
  const Tensor bias = p.with_bias ? random_tensor(ctx, {p.n}, DType::f32, 4) : Tensor();
  const auto av = to_vector(a), bv = to_vector(b), before = to_vector(c);
  const auto bias_v = p.with_bias ? to_vector(bias) : std::vector<float>(static_cast<size_t>(p.n));
  const ops::Columns in = p.wide_a ? widened(ctx, a, 3, 5) : a, out = p.wide_c ? widened(ctx, c, 0, 9) : c;
  ops::gemm(ctx, p.options, in, b, bias, out);
  const auto after = to_vector(out);
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t l = 0; l < p.k; ++l) {
        const double term =
            static_cast<double>(av[ta ? l * p.m + i : i * p.k + l]) * bv[tb ? j * p.k + l : l * p.n + j];
        sum += term;
        magnitude += std::abs(term);
      }
      const int64_t at = i * p.n + j;
      const double before_it = p.options.accumulate ? before[at] : 0.0;
      const double expected = p.options.alpha * sum + bias_v[j] + before_it;
      const double allowed = 1e-6 * (magnitude + std::abs(bias_v[j]) + std::abs(before_it)) +
                             2 * epsilon(p.out) * std::abs(expected) +
                             bias_rounding(p.out) * std::abs(bias_v[j]) +
                             (p.with_bias ? bias_rounding(p.out) * std::abs(expected - bias_v[j]) : 0);
      ASSERT_NEAR(after[at], expected, allowed) << "at " << i << ", " << j;
    }
  }
}

class Gemm : public test::SharedContexts {};
class Linear : public test::SharedContexts {};

class GemmTypes : public test::SharedContexts, public testing::WithParamInterface<std::pair<DType, DType>> {};

TEST_P(GemmTypes, MatchDoublePrecisionInEveryCombination) {
  const auto& [in, out] = GetParam();
  const int64_t sizes[][3] = {{1, 1, 1},   {3, 5, 7}, {33, 65, 17}, {1, 96, 64},
                              {64, 1, 33}, {5, 7, 0}, {0, 7, 5},    {5, 0, 7}};
  std::vector<int> combinations(8 * 256);
  std::iota(combinations.begin(), combinations.end(), 0);
  for (const int bits : test::sample(combinations, 512)) {
    const auto& [m, n, k] = sizes[bits / 256];
    const ops::GemmOptions options{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0,
                                   (bits & 8) != 0 ? -0.5f : 1.0f};
    expect_product(context((bits & 128) != 0 ? 2 : 1),
                   {m, n, k, in, out, (bits & 16) != 0, options, (bits & 32) != 0, (bits & 64) != 0});
  }
}

INSTANTIATE_TEST_SUITE_P(
    , GemmTypes,
    testing::Values(std::pair{DType::f32, DType::f32}, std::pair{DType::bf16, DType::bf16},
                    std::pair{DType::bf16, DType::f32}, std::pair{DType::f16, DType::f16},
                    std::pair{DType::f16, DType::f32}),
    [](const auto& types) {
      return fmt::format("{}To{}", to_string(types.param.first), to_string(types.param.second));
    });

TEST_F(Gemm, LargeSizesMatchDoublePrecision) {
  for (const DType in : {DType::f32, DType::bf16}) {
    expect_product(context(2), {257, 513, 1031, in, in, true, {false, true, false, 1.0f}});
    expect_product(context(2), {513, 257, 1031, in, in, false, {false, false, false, 1.0f}});
    expect_product(context(2), {257, 513, 1031, in, DType::f32, false, {true, false, true, 1.0f}});
    expect_product(context(2), {131, 149, 1031, in, DType::f32, true, {true, true, true, -0.5f}, true, true});
  }
}

// The head's products: rows that are odd in length and begin at multiples of 128 bytes.
TEST_F(Gemm, LogitsOfAnOddVocabulary) {
  for (const auto& [in, out] : {std::pair{DType::bf16, DType::bf16}, std::pair{DType::f32, DType::f32}}) {
    expect_product(context(2), {33, 1031, 65, in, out, false, {false, true, false, 1.0f}, false, true});
    expect_product(context(2), {33, 65, 1031, in, out, false, {}, true, false});
    expect_product(context(2), {1031, 65, 33, in, DType::f32, false, {true, false, true, 1.0f}, true, false});
  }
}

TEST_F(Gemm, RefusesOperandsThatDoNotFit) {
  Context& ctx = context();
  const Tensor a = random_tensor(ctx, {2, 3}, DType::f32, 1), b = random_tensor(ctx, {4, 5}, DType::f32, 2);
  const Tensor c = random_tensor(ctx, {2, 5}, DType::f32, 3),
               half = random_tensor(ctx, {3, 5}, DType::bf16, 4);
  EXPECT_THROW(ops::gemm(ctx, {}, a, b, {}, c), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, a, half, {}, c), InternalError);
  const Tensor right = random_tensor(ctx, {3, 5}, DType::f32, 2),
               bias = random_tensor(ctx, {4}, DType::f32, 5);
  EXPECT_THROW(ops::gemm(ctx, {}, a, right, bias, c), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, a, right, {}, Tensor::empty(ctx, {2, 5}, DType::bf16)), InternalError);
  // A wider matrix is no excuse: the columns that are meant are named.
  const Tensor wide = random_tensor(ctx, {2, 8}, DType::f32, 6);
  EXPECT_THROW(ops::gemm(ctx, {}, wide, right, {}, c), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, {wide, 6, 3}, right, {}, c), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, {wide, -1, 3}, right, {}, c), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, a, right, {}, wide), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, a, right, {}, {wide, 4, 5}), InternalError);
  EXPECT_THROW(ops::gemm(ctx, {}, a, right, {}, {}), InternalError);
}

// More problems than are kept described: those that come back must still be right.
TEST_F(Gemm, ForgottenProblemsAreDescribedAgain) {
  for (int round = 0; round < 2; ++round) {
    for (int64_t n = 1; n <= 300; ++n) expect_product(context(), {2, n, 3, DType::f32, DType::f32, true, {}});
  }
}

TEST_F(Linear, ForwardAndBackwardAreTheProductsOfTheContract) {
  Context& ctx = context(2);
  const int64_t n = 9, in = 5, out = 7;
  const Tensor x = random_tensor(ctx, {n, in}, DType::f32, 1),
               w = random_tensor(ctx, {out, in}, DType::f32, 2);
  const Tensor bias = random_tensor(ctx, {out}, DType::f32, 3),
               dy = random_tensor(ctx, {n, out}, DType::f32, 4);
  const Tensor y = Tensor::empty(ctx, {n, out}, DType::f32), dx = Tensor::empty(ctx, {n, in}, DType::f32);
  const Tensor dw = random_tensor(ctx, {out, in}, DType::f32, 5),
               dbias = random_tensor(ctx, {out}, DType::f32, 6);
  const auto dw_before = to_vector(dw), dbias_before = to_vector(dbias);
  ops::linear(ctx, x, w, bias, y);
  ops::linear_backward_input(ctx, dy, w, dx);
  ops::linear_backward_weight(ctx, dy, x, dw, dbias);
  const auto xv = to_vector(x), wv = to_vector(w), bv = to_vector(bias), dyv = to_vector(dy);
  std::vector<double> y_ref(n * out), dx_ref(n * in), dw_ref(dw_before.begin(), dw_before.end());
  std::vector<double> dbias_ref(dbias_before.begin(), dbias_before.end());
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      y_ref[r * out + o] = bv[o];
      dbias_ref[o] += dyv[r * out + o];
      for (int64_t i = 0; i < in; ++i) {
        y_ref[r * out + o] += static_cast<double>(xv[r * in + i]) * wv[o * in + i];
        dx_ref[r * in + i] += static_cast<double>(dyv[r * out + o]) * wv[o * in + i];
        dw_ref[o * in + i] += static_cast<double>(dyv[r * out + o]) * xv[r * in + i];
      }
    }
  }
  const auto expect = [](const Tensor& got, const std::vector<double>& expected) {
    const auto values = to_vector(got);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-5) << i;
  };
  expect(y, y_ref);
  expect(dx, dx_ref);
  expect(dw, dw_ref);
  expect(dbias, dbias_ref);
}

}  // namespace
}  // namespace trireme
