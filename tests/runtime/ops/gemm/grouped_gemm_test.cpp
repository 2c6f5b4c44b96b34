#include "runtime/ops/gemm/grouped_gemm.h"

#include <numeric>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using GroupedGemmTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(GroupedGemmTest);

struct Case {
  std::vector<int64_t> counts;
  int64_t in, out;
};
const Case kCases[] = {{{1}, 1, 1},
                       {{0, 0}, 3, 5},
                       {{0, 7, 0, 1}, 9, 5},
                       {{3, 64, 17}, 40, 33},
                       {{0, 300, 2, 5, 70, 1}, 64, 48},
                       {{4, 0, 9}, 16, 12},
                       {std::vector<int64_t>(60, 2), 8, 16}};

size_t expert_of_row(const std::vector<int64_t>& counts, int64_t row) {
  size_t e = 0;
  while (row >= counts[e]) row -= counts[e++];
  return e;
}

TEST_P(GroupedGemmTest, EveryRowMeetsTheMatrixOfItsExpert) {
  for (const Case& c : kCases) {
    const int64_t rows = std::accumulate(c.counts.begin(), c.counts.end(), int64_t{0});
    const auto num_experts = static_cast<int64_t>(c.counts.size());
    const Tensor x = random_tensor(ctx_, {rows, c.in}, dtype(), 1),
                 dy = random_tensor(ctx_, {rows, c.out}, dtype(), 2);
    const Tensor w = random_tensor(ctx_, {num_experts * c.out, c.in}, dtype(), 3);
    const Tensor y = clone(ctx_, dy), dx = clone(ctx_, x);
    const Tensor dw = random_tensor(ctx_, w.shape(), DType::f32, 4);
    std::vector<double> expected_y(static_cast<size_t>(y.numel()), 0.0),
        expected_dx(static_cast<size_t>(dx.numel()), 0.0), expected_dw;
    for (const float value : to_vector(dw)) expected_dw.push_back(value);
    const auto xs = to_vector(x), ws = to_vector(w), dys = to_vector(dy);
    const auto in = static_cast<size_t>(c.in), out = static_cast<size_t>(c.out);
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      const size_t matrix = expert_of_row(c.counts, static_cast<int64_t>(r)) * in * out;
      for (size_t o = 0; o < out; ++o) {
        for (size_t i = 0; i < in; ++i) {
          const double weight = ws[matrix + o * in + i], value = xs[r * in + i], gradient = dys[r * out + o];
          expected_y[r * out + o] += value * weight;
          expected_dx[r * in + i] += gradient * weight;
          expected_dw[matrix + o * in + i] += gradient * value;
        }
      }
    }
    const Tensor dw_threads = clone(ctx_, dw), y_threads = clone(ctx_, y);
    ops::grouped_linear(ctx_, x, c.counts, w, y);
    ops::grouped_linear(threads_, x, c.counts, w, y_threads);
    ops::grouped_linear_backward_input(threads_, dy, c.counts, w, dx);
    ops::grouped_linear_backward_weight(ctx_, dy, x, c.counts, dw);
    ops::grouped_linear_backward_weight(threads_, dy, x, c.counts, dw_threads);
    const double scale = std::sqrt(static_cast<double>(std::max({c.in, c.out, rows})));
    expect_close(to_vector(y), expected_y, tolerance(), scale);
    expect_close(to_vector(y_threads), expected_y, tolerance(), scale);
    expect_close(to_vector(dx), expected_dx, tolerance(), scale);
    expect_close(to_vector(dw), expected_dw, 4e-6, scale);
    expect_close(to_vector(dw_threads), expected_dw, 4e-6, scale);
  }
}

TEST(GroupedGemm, CountsMustBeThoseOfTheRows) {
  Context ctx(test_device());
  const Tensor x = random_tensor(ctx, {3, 2}, DType::f32, 1), w = random_tensor(ctx, {8, 2}, DType::f32, 2);
  const Tensor y = Tensor::empty(ctx, {3, 4}, DType::f32);
  EXPECT_THROW(ops::grouped_linear(ctx, x, std::vector<int64_t>{1, 1}, w, y), InternalError);
}

}  // namespace
}  // namespace trireme::test
