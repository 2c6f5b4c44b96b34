#include "runtime/ops/activation.h"

#include <functional>
#include <numbers>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ActivationTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(ActivationTest);

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double silu(double x) { return x / (1 + std::exp(-x)); }
double slope(const std::function<double(double)>& f, double x) { return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5; }

double gelu_erf(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
double gelu_erf_slope(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2) +
         x * std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
}

constexpr int64_t kSizes[] = {0, 1, 7, 1023, 40001};

TEST_P(ActivationTest, GeluAndItsGradientMatchDoubles) {
  for (const int64_t n : kSizes) {
    const Tensor x = random_tensor(ctx_, {n}, dtype(), 1, 3.0f), dy = random_tensor(ctx_, {n}, dtype(), 2);
    const Tensor y = Tensor::empty(ctx_, {n}, dtype());
    ops::gelu(ctx_, x, y);
    std::vector<double> expected, gradient;
    const auto xs = to_vector(x), dys = to_vector(dy);
    for (size_t i = 0; i < xs.size(); ++i) {
      expected.push_back(gelu(xs[i]));
      gradient.push_back(dys[i] * slope(gelu, xs[i]));
    }
    expect_close(to_vector(y), expected, tolerance(), 0.1);
    ops::gelu_backward(ctx_, x, dy, dy);
    expect_close(to_vector(dy), gradient, tolerance());
  }
}

TEST_P(ActivationTest, GeluOfLargeNumbersIsZeroOrTheNumber) {
  const Tensor x = make_tensor(ctx_, {4}, dtype(), {-6e4f, -30.0f, 30.0f, 6e4f});
  const Tensor y = Tensor::empty(ctx_, {4}, dtype()), dx = full(ctx_, {4}, dtype(), 1.0f);
  ops::gelu(ctx_, x, y);
  ops::gelu_backward(ctx_, x, dx, dx);
  expect_close(to_vector(y), {0, 0, to_vector(x)[2], to_vector(x)[3]}, 1e-6);
  expect_close(to_vector(dx), {0, 0, 1, 1}, 1e-6);
}

TEST_P(ActivationTest, ExactGeluAndItsGradientMatchDoubles) {
  for (const int64_t n : kSizes) {
    const Tensor x = random_tensor(ctx_, {n}, dtype(), 8, 3.0f), dy = random_tensor(ctx_, {n}, dtype(), 9);
    const Tensor y = Tensor::empty(ctx_, {n}, dtype());
    ops::gelu_erf(ctx_, x, y);
    std::vector<double> expected, gradient;
    const auto xs = to_vector(x), dys = to_vector(dy);
    for (size_t i = 0; i < xs.size(); ++i) {
      expected.push_back(gelu_erf(xs[i]));
      gradient.push_back(dys[i] * gelu_erf_slope(xs[i]));
    }
    expect_close(to_vector(y), expected, tolerance(), 0.1);
    ops::gelu_erf_backward(ctx_, x, dy, dy);
    expect_close(to_vector(dy), gradient, tolerance(), 0.1);
  }
}

// Its digits stay right in the tail too, where 1 + erf(x) would have none left: up to the rounding of x^2 in
// the exponent.
TEST_P(ActivationTest, ExactGeluKeepsTheDigitsOfItsTail) {
  std::vector<float> values;
  for (float x = -9.0f; x <= 9.0f; x += 0.0078125f) values.push_back(x);
  const auto n = static_cast<int64_t>(values.size());
  const Tensor x = make_tensor(ctx_, {n}, dtype(), values), y = Tensor::empty(ctx_, {n}, dtype());
  ops::gelu_erf(ctx_, x, y);
  const auto xs = to_vector(x), ys = to_vector(y);
  for (size_t i = 0; i < xs.size(); ++i) {
    const double exact = gelu_erf(xs[i]), of_exponent = xs[i] * xs[i] * 0x1p-22;
    // fp16 has fewer digits below its smallest normal number.
    const double least = dtype() == DType::f16 ? 0x1p-24 : 0;
    const double rounding = dtype() == DType::f32 ? 1e-6 : tolerance();
    ASSERT_NEAR(ys[i], exact, (rounding + of_exponent) * std::abs(exact) + least) << xs[i];
  }
}

TEST_P(ActivationTest, ExactGeluOfLargeNumbersIsZeroOrTheNumber) {
  const Tensor x = make_tensor(ctx_, {4}, dtype(), {-6e4f, -30.0f, 30.0f, 6e4f});
  const Tensor y = Tensor::empty(ctx_, {4}, dtype()), dx = full(ctx_, {4}, dtype(), 1.0f);
  ops::gelu_erf(ctx_, x, y);
  ops::gelu_erf_backward(ctx_, x, dx, dx);
  expect_close(to_vector(y), {0, 0, to_vector(x)[2], to_vector(x)[3]}, 1e-6);
  expect_close(to_vector(dx), {0, 0, 1, 1}, 1e-6);
}

using Gated = void (*)(Context&, const Tensor&, const Tensor&);
using GatedBackward = void (*)(Context&, const Tensor&, const Tensor&, const Tensor&);

/// y = f(gate) * up, and its gradient in place of its input.
void expect_gated(Context& ctx, DType dtype, double tolerance, const std::function<double(double)>& f,
                  Gated forward, GatedBackward backward) {
  for (const auto& [rows, width] :
       {std::pair<int64_t, int64_t>{0, 5}, {1, 1}, {3, 17}, {5, 700}, {64, 1001}}) {
    const Tensor gate_up = random_tensor(ctx, {rows, 2 * width}, dtype, 3, 2.0f);
    const Tensor dy = random_tensor(ctx, {rows, width}, dtype, 4);
    const Tensor y = Tensor::empty(ctx, {rows, width}, dtype);
    forward(ctx, gate_up, y);
    const auto in = to_vector(gate_up), dys = to_vector(dy);
    std::vector<double> expected, gradient(in.size());
    for (size_t n = 0; n < static_cast<size_t>(rows); ++n) {
      for (size_t i = 0; i < static_cast<size_t>(width); ++i) {
        const size_t gate = n * 2 * static_cast<size_t>(width) + i, up = gate + static_cast<size_t>(width);
        const double d = dys[n * static_cast<size_t>(width) + i];
        expected.push_back(f(in[gate]) * in[up]);
        gradient[gate] = d * in[up] * slope(f, in[gate]);
        gradient[up] = d * f(in[gate]);
      }
    }
    expect_close(to_vector(y), expected, tolerance);
    backward(ctx, gate_up, dy, gate_up);
    expect_close(to_vector(gate_up), gradient, tolerance);
  }
}

TEST_P(ActivationTest, SwigluAndItsGradientMatchDoubles) {
  expect_gated(ctx_, dtype(), tolerance(), silu, ops::swiglu, ops::swiglu_backward);
}

TEST_P(ActivationTest, GegluAndItsGradientMatchDoubles) {
  expect_gated(ctx_, dtype(), tolerance(), gelu, ops::geglu, ops::geglu_backward);
}

TEST_P(ActivationTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const Tensor x = random_tensor(ctx_, {101, 1002}, dtype(), 5),
               dy = random_tensor(ctx_, {101, 1002}, dtype(), 6);
  const Tensor half = random_tensor(ctx_, {101, 501}, dtype(), 7);
  const auto run = [&](Context& ctx) {
    std::vector<Tensor> out;
    for (int i = 0; i < 5; ++i) out.push_back(Tensor::empty(ctx_, x.shape(), dtype()));
    out.push_back(Tensor::empty(ctx_, half.shape(), dtype()));
    ops::gelu(ctx, x, out[0]);
    ops::gelu_backward(ctx, x, dy, out[1]);
    ops::swiglu_backward(ctx, x, half, out[2]);
    ops::gelu_erf(ctx, x, out[3]);
    ops::gelu_erf_backward(ctx, x, dy, out[4]);
    ops::swiglu(ctx, x, out[5]);
    return out;
  };
  const auto one = run(ctx_), three = run(threads_);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
}

TEST_P(ActivationTest, RefusesWhatDoesNotFit) {
  const auto empty = [&](const Shape& shape, DType type) { return Tensor::empty(ctx_, shape, type); };
  const Tensor x = empty({2, 6}, dtype());
  EXPECT_THROW(ops::gelu(ctx_, x, empty({12}, dtype())), InternalError);
  EXPECT_THROW(ops::gelu(ctx_, x, empty({2, 6}, DType::f64)), InternalError);
  EXPECT_THROW(ops::gelu(ctx_, {}, x), InternalError);
  EXPECT_THROW(ops::gelu_erf(ctx_, x, empty({12}, dtype())), InternalError);
  EXPECT_THROW(ops::gelu_erf_backward(ctx_, x, x, empty({2, 5}, dtype())), InternalError);
  EXPECT_THROW(ops::gelu_backward(ctx_, x, empty({2, 5}, dtype()), x), InternalError);
  EXPECT_THROW(ops::swiglu(ctx_, x, x), InternalError);
  EXPECT_THROW(ops::geglu(ctx_, x, x), InternalError);
  EXPECT_THROW(ops::geglu_backward(ctx_, x, empty({2, 3}, dtype()), empty({2, 3}, dtype())), InternalError);
  EXPECT_THROW(ops::swiglu(ctx_, empty({2, 7}, dtype()), empty({2, 3}, dtype())), InternalError);
  EXPECT_THROW(ops::swiglu_backward(ctx_, x, empty({2, 3}, dtype()), empty({2, 3}, dtype())), InternalError);
}

}  // namespace
}  // namespace trireme::test
