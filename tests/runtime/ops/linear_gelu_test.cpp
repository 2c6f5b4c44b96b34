// Linear layers with GELU behind or before them, against sums in double precision.
#include <cmath>
#include <numbers>

#include "runtime/ops/activation.h"
#include "runtime/ops/gemm/gemm.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

class LinearGelu : public OpTest {};

struct Gelu {
  double value, slope;
  explicit Gelu(double x) {
    const double scale = std::sqrt(2 / std::numbers::pi), t = std::tanh(scale * (x + 0.044715 * x * x * x));
    value = 0.5 * x * (1 + t);
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x);
  }
};

struct Sizes {
  int64_t rows, in, out;
};
// Widths of a multiple of eight, which epilogues want, and others; one row, one column, no row, no inner dim.
constexpr Sizes kSizes[] = {{1, 1, 1},  {5, 7, 9},   {33, 17, 24}, {64, 40, 64}, {1, 16, 64},
                            {16, 1, 8}, {7, 32, 65}, {0, 8, 16},   {5, 0, 8},    {5, 0, 7}};

std::string text(const Sizes& s, bool with_bias) {
  return fmt::format("{} rows, {} -> {}{}", s.rows, s.in, s.out, with_bias ? " with bias" : "");
}

// sum over l of a[i, l] b[l, j] in double, b[l, j] being at(l, j).
template <class At>
std::vector<double> product(const std::vector<float>& a, int64_t m, int64_t k, int64_t n, At&& at) {
  std::vector<double> out(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t l = 0; l < k; ++l) out[i * n + j] += static_cast<double>(a[i * k + l]) * at(l, j);
    }
  }
  return out;
}

TEST_P(LinearGelu, ForwardIsTheProductAndItsActivation) {
  for (const Sizes& s : kSizes) {
    for (const bool with_bias : {false, true}) {
      SCOPED_TRACE(text(s, with_bias));
      const Tensor x = random_tensor(ctx_, {s.rows, s.in}, dtype(), 1),
                   w = random_tensor(ctx_, {s.out, s.in}, dtype(), 2, 0.3f),
                   bias = with_bias ? random_tensor(ctx_, {s.out}, DType::f32, 3) : Tensor();
      const Tensor h = full(ctx_, {s.rows, s.out}, dtype(), std::nanf("")), y = clone(ctx_, h);
      ops::linear_gelu(ctx_, x, w, bias, h, y);
      const auto wv = to_vector(w), bv = with_bias ? to_vector(bias) : std::vector<float>(s.out);
      auto sums =
          product(to_vector(x), s.rows, s.in, s.out, [&](int64_t l, int64_t j) { return wv[j * s.in + l]; });
      std::vector<double> active;
      for (size_t i = 0; i < sums.size(); ++i) {
        sums[i] += bv[i % s.out];
        active.push_back(Gelu(sums[i]).value);
      }
      // CUDA rounds the bias too, and where no epilogue has it, what it is added to.
      expect_close(to_vector(h), sums, 3 * tolerance());
      expect_close(to_vector(y), active, 4 * tolerance());
    }
  }
}

TEST_P(LinearGelu, BackwardIsTheProductTimesTheSlope) {
  for (const Sizes& s : kSizes) {  // from the layer's output, `in` wide, to h, `out` wide
    SCOPED_TRACE(text(s, false));
    const Tensor dy = random_tensor(ctx_, {s.rows, s.in}, dtype(), 1),
                 w = random_tensor(ctx_, {s.in, s.out}, dtype(), 2, 0.3f),
                 h = random_tensor(ctx_, {s.rows, s.out}, dtype(), 3, 2.0f);
    const Tensor before = clone(ctx_, h), dh = full(ctx_, h.shape(), dtype(), std::nanf(""));
    ops::linear_backward_input_gelu(ctx_, dy, w, h, dh);
    EXPECT_TRUE(same_bits(h, before));
    const auto wv = to_vector(w), hv = to_vector(h);
    auto expected =
        product(to_vector(dy), s.rows, s.in, s.out, [&](int64_t l, int64_t j) { return wv[l * s.out + j]; });
    for (size_t i = 0; i < expected.size(); ++i) expected[i] *= Gelu(hv[i]).slope;
    expect_close(to_vector(dh), expected, 4 * tolerance());
  }
}

// Gradients of bias and weight together, added to what is there.
TEST_P(LinearGelu, GradientsOfWeightAndBiasAreAdded) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(text(s, true));
    const Tensor dy = random_tensor(ctx_, {s.rows, s.out}, dtype(), 1),
                 x = random_tensor(ctx_, {s.rows, s.in}, dtype(), 2);
    const ops::Columns wide = widened(ctx_, dy, 8, 3);
    for (const ops::Columns& gradient : {ops::Columns(dy), wide}) {
      const Tensor dw = random_tensor(ctx_, {s.out, s.in}, DType::f32, 3),
                   dbias = random_tensor(ctx_, {s.out}, DType::f32, 4);
      const auto dw_before = to_vector(dw), dbias_before = to_vector(dbias), dyv = to_vector(dy),
                 xv = to_vector(x);
      ops::linear_backward_weight(ctx_, gradient, x, dw, dbias);
      std::vector<double> dw_expected(dw_before.begin(), dw_before.end()),
          dbias_expected(dbias_before.begin(), dbias_before.end());
      for (int64_t r = 0; r < s.rows; ++r) {
        for (int64_t o = 0; o < s.out; ++o) {
          dbias_expected[o] += dyv[r * s.out + o];
          for (int64_t i = 0; i < s.in; ++i)
            dw_expected[o * s.in + i] += static_cast<double>(dyv[r * s.out + o]) * xv[r * s.in + i];
        }
      }
      expect_close(to_vector(dw), dw_expected, 1e-5);
      expect_close(to_vector(dbias), dbias_expected, 1e-5);
    }
  }
}

TRIREME_FOR_COMPUTE_TYPES(LinearGelu);

TEST(LinearGeluEdges, TheSameOnAnyNumberOfThreads) {
  Context one(test_device()), three(test_device(), 3);
  const Tensor x = random_tensor(one, {65, 40}, DType::bf16, 1),
               w = random_tensor(one, {72, 40}, DType::bf16, 2);
  const Tensor h = Tensor::empty(one, {65, 72}, DType::bf16), y = Tensor::empty(one, h.shape(), DType::bf16),
               other_h = Tensor::empty(one, h.shape(), DType::bf16),
               other_y = Tensor::empty(one, h.shape(), DType::bf16);
  ops::linear_gelu(one, x, w, {}, h, y);
  ops::linear_gelu(three, x, w, {}, other_h, other_y);
  EXPECT_TRUE(same_bits(h, other_h) && same_bits(y, other_y));
}

TEST(LinearGeluEdges, RefusesTensorsThatDoNotFit) {
  Context ctx(test_device());
  const auto tensor = [&](int64_t rows, int64_t columns, DType dtype = DType::bf16) {
    return random_tensor(ctx, {rows, columns}, dtype, 1);
  };
  const Tensor x = tensor(2, 3), w = tensor(8, 3), h = tensor(2, 8);
  EXPECT_THROW(ops::linear_gelu(ctx, x, w, {}, h, tensor(2, 7)), InternalError);
  EXPECT_THROW(ops::linear_gelu(ctx, x, w, {}, tensor(2, 8, DType::f32), h), InternalError);
  EXPECT_THROW(ops::linear_gelu(ctx, x, tensor(8, 4), {}, h, h), InternalError);
  EXPECT_THROW(ops::linear_backward_input_gelu(ctx, h, w, tensor(2, 4), x), InternalError);
  EXPECT_THROW(ops::linear_backward_input_gelu(ctx, h, w, tensor(2, 3, DType::f32), x), InternalError);
  EXPECT_THROW(ops::linear_backward_weight(ctx, h, x, tensor(8, 3), {}), InternalError);
  EXPECT_THROW(ops::linear_backward_weight(ctx, h, x, tensor(8, 3, DType::f32), tensor(1, 8, DType::f32)),
               InternalError);
}

}  // namespace
}  // namespace trireme::test
