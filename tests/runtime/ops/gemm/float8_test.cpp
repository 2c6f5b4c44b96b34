#include "runtime/ops/gemm/float8.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

ops::ScaledTensor make_scaled(Context& ctx, const Shape& shape, DType dtype) {
  return {Tensor::empty(ctx, shape, dtype), Tensor::empty(ctx, {1}, DType::f32)};
}

ops::ScaledTensor quantized(Context& ctx, const Tensor& x, DType dtype) {
  const auto out = make_scaled(ctx, x.shape(), dtype);
  ops::quantize(ctx, x, out);
  return out;
}

float scale_of(const ops::ScaledTensor& t) { return read<float>(t.scale)[0]; }

std::vector<float> dequantized(Context& ctx, const ops::ScaledTensor& t) {
  const Tensor wide = Tensor::empty(ctx, t.values.shape(), DType::f32);
  ops::dequantize(ctx, t, wide);
  return to_vector(wide);
}

float round_to(DType dtype, float x) {
  return dtype == DType::f8e4m3 ? static_cast<float>(fp8_e4m3(x)) : static_cast<float>(fp8_e5m2(x));
}

constexpr DType kFloat8Types[] = {DType::f8e4m3, DType::f8e5m2};

using Float8Ops = OpTest;
TRIREME_FOR_COMPUTE_TYPES(Float8Ops);

TEST_P(Float8Ops, QuantizeRoundsWithTheSmallestPowerOfTwoThatFits) {
  for (const DType type : kFloat8Types) {
    const float limit = type == DType::f8e4m3 ? 448.0f : 57344.0f;
    for (const int64_t n : {1, 7, 1025, 50001}) {
      for (const float size : {1e-3f, 1.0f, 300.0f}) {
        const Tensor x = random_tensor(ctx_, {n}, dtype(), 3, size);
        const auto q = quantized(threads_, x, type);
        const float scale = scale_of(q);
        float largest = 0;
        for (const float v : to_vector(x)) largest = std::max(largest, std::abs(v));
        EXPECT_LE(largest / scale, limit);
        EXPECT_GT(largest / scale, limit / 2);
        int exponent = 0;
        EXPECT_EQ(std::frexp(scale, &exponent), 0.5f);
        const auto values = to_vector(x), back = dequantized(ctx_, q);
        for (size_t i = 0; i < values.size(); ++i) {
          ASSERT_EQ(back[i], round_to(type, values[i] / scale) * scale) << i;
        }
        EXPECT_TRUE(same_bits(q.values, quantized(ctx_, x, type).values));
      }
    }
  }
}

TEST_P(Float8Ops, QuantizeHidesNoOverflow) {
  for (const DType type : kFloat8Types) {
    std::vector<float> values(2000, 3.0f);
    values[5] = INFINITY;
    values[1500] = -INFINITY;
    values[1999] = NAN;
    const auto q = quantized(ctx_, make_tensor(ctx_, {2000}, dtype(), values), type);
    const auto back = dequantized(ctx_, q);
    for (size_t i = 0; i < back.size(); ++i) {
      if (std::isfinite(values[i])) {
        ASSERT_EQ(back[i], 3.0f) << i;
      } else {
        ASSERT_TRUE(std::isnan(back[i])) << i;
      }
    }
  }
}

TEST_P(Float8Ops, QuantizeTakesZerosAndTheSmallestNumbers) {
  for (const DType type : kFloat8Types) {
    const auto zeros = quantized(ctx_, full(ctx_, {5}, dtype(), 0.0f), type);
    EXPECT_EQ(scale_of(zeros), 1.0f);
    EXPECT_EQ(dequantized(ctx_, zeros), std::vector<float>(5, 0.0f));
    const auto none = quantized(ctx_, full(ctx_, {0, 3}, dtype(), 0.0f), type);
    EXPECT_EQ(scale_of(none), 1.0f);
  }
  const auto tiny = quantized(ctx_, full(ctx_, {3}, DType::f32, 1e-44f), DType::f8e4m3);
  EXPECT_EQ(scale_of(tiny), 0x1p-126f);
}

struct Product {
  int64_t m, n, k;
  ops::GemmOptions options;
  bool with_bias;
};

void expect_product(Context& ctx, const Product& p, DType a_type, DType b_type, DType out) {
  const bool on_device = test_device().type == DeviceType::cuda;
  const bool ta = p.options.transpose_a, tb = p.options.transpose_b;
  const auto a = quantized(
      ctx, random_tensor(ctx, ta ? Shape{p.k, p.m} : Shape{p.m, p.k}, DType::f32, 1, 1e-3f), a_type);
  const auto b = quantized(
      ctx, random_tensor(ctx, tb ? Shape{p.n, p.k} : Shape{p.k, p.n}, DType::f32, 2, 50.0f), b_type);
  const Tensor c = random_tensor(ctx, {p.m, p.n}, out, 3);
  const Tensor bias = p.with_bias ? random_tensor(ctx, {p.n}, DType::f32, 4) : Tensor();
  const auto av = dequantized(ctx, a), bv = dequantized(ctx, b), before = to_vector(c);
  const auto bias_v = p.with_bias ? to_vector(bias) : std::vector<float>(static_cast<size_t>(p.n));
  ops::gemm_float8(ctx, p.options, a, b, bias, c);
  const auto after = to_vector(c);
  const double epsilon = out == DType::f32 ? 0x1p-23 : out == DType::bf16 ? 0x1p-8 : 0x1p-11;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t l = 0; l < p.k; ++l) {
        const double term = static_cast<double>(av[static_cast<size_t>(ta ? l * p.m + i : i * p.k + l)]) *
                            bv[static_cast<size_t>(tb ? j * p.k + l : l * p.n + j)];
        sum += term;
        magnitude += std::abs(term);
      }
      const auto at = static_cast<size_t>(i * p.n + j);
      const double expected =
          p.options.alpha * sum + bias_v[static_cast<size_t>(j)] + (p.options.accumulate ? before[at] : 0.0f);
      // CUDA rounds the bias to the result's type, and what it is added to where no epilogue has it.
      const double bias_here = bias_v[static_cast<size_t>(j)];
      const double rounded = std::abs(bias_here) + (on_device ? std::abs(expected - bias_here) : 0);
      // Tensor cores of Hopper keep 14 bits of such sums (DeepSeek-V3, arXiv 2412.19437, section 3.3.2).
      const double of_sum = on_device ? 0x1p-13 : 1e-6;
      ASSERT_NEAR(after[at], expected,
                  of_sum * (magnitude + 4) + 2 * epsilon * std::abs(expected) + epsilon * rounded);
    }
  }
}

TEST_P(Float8Ops, GemmIsTheProductOfTheValues) {
  for (const DType a : kFloat8Types) {
    for (const DType b : kFloat8Types) {
      for (const Product& p : {Product{1, 1, 1, {}, false}, Product{3, 5, 7, {.transpose_b = true}, true},
                               Product{33, 17, 65, {.transpose_a = true, .accumulate = true}, false},
                               Product{5, 9, 40, {.alpha = 0.5f}, true}, Product{4, 3, 0, {}, true}}) {
        expect_product(context(2), p, a, b, dtype());
      }
      // Sizes that the tensor cores of a GPU take, in every combination.
      for (int bits = 0; bits < 16; ++bits) {
        const ops::GemmOptions options{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, -0.5f};
        expect_product(context(2), {32, 16, 48, options, (bits & 8) != 0}, a, b, dtype());
      }
    }
  }
}

TEST(Float8, RefusesWhatDoesNotFit) {
  Context ctx(test_device());
  const Tensor x = full(ctx, {2, 3}, DType::f32, 1.0f);
  const auto a = quantized(ctx, x, DType::f8e4m3);
  EXPECT_THROW(ops::quantize(ctx, x, {x, a.scale}), InternalError);
  EXPECT_THROW(ops::quantize(ctx, x, {a.values, x}), InternalError);
  EXPECT_THROW(ops::dequantize(ctx, a, full(ctx, {3, 2}, DType::f32, 0)), InternalError);
  EXPECT_THROW(ops::gemm_float8(ctx, {}, a, a, {}, full(ctx, {2, 3}, DType::f32, 0)), InternalError);
  EXPECT_THROW(ops::gemm_float8(ctx, {.transpose_b = true}, a, a, {}, full(ctx, {2, 3}, DType::f32, 0)),
               InternalError);
}

}  // namespace
}  // namespace trireme::test
