// Forward products on the CPU give a row the same bits whatever the other rows are and however many.
#include <numeric>

#include "runtime/ops/cpu/gemm/half_gemm.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/runtime/ops/thread_cases/thread_cases.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

using RowsOfProducts = OpTest;
TRIREME_FOR_COMPUTE_TYPES(RowsOfProducts);

/// Lengths of runs that cover `rows`: mostly few, now and then many.
std::vector<int64_t> runs_of(Draw& draw, int64_t rows) {
  std::vector<int64_t> runs;
  for (int64_t left = rows; left > 0; left -= runs.back()) {
    runs.push_back(std::min(left, draw.between(1, 3) == 1 ? draw.between(1, 300) : draw.between(1, 20)));
  }
  return runs;
}

TEST_P(RowsOfProducts, HaveBitsOfTheirOwn) {
  std::vector<uint64_t> seeds(400);
  std::iota(seeds.begin(), seeds.end(), test_seed() * 1000);
  for (const uint64_t seed : sample(seeds, 24)) {
    Draw draw(seed);
    const int64_t m = draw.between(1, 8) == 1 ? draw.between(300, 700) : draw.between(2, 90);
    const int64_t n = draw.between(1, 6) == 1 ? draw.between(700, 1200) : draw.between(1, 200),
                  k = draw.between(1, 4) == 1 ? draw.between(385, 1200) : draw.between(1, 400);
    const DType out = draw.coin() ? DType::f32 : dtype();
    const int64_t before = draw.between(0, 3), behind = draw.between(0, 3);
    SCOPED_TRACE(fmt::format("case {}: {} x {} x {} to {}", seed, m, n, k, to_string(out)));
    const Tensor x = random_tensor(ctx_, {m, before + k}, dtype(), seed, 3.0f),
                 w = random_tensor(ctx_, {n, k}, dtype(), seed + 1);
    const Tensor bias = draw.coin() ? random_tensor(ctx_, {n}, DType::f32, seed + 2) : Tensor();
    const ops::GemmOptions options = {.transpose_b = true, .alpha = draw.between(1, 3) == 1 ? 0.7f : 1.0f};
    const Tensor all = full(ctx_, {m, before + n + behind}, out, 5.0f), parts = clone(ctx_, all);
    ops::gemm(ctx_, options, {x, before, k}, w, bias, {all, before, n});
    int64_t row = 0;
    for (const int64_t count : runs_of(draw, m)) {
      ops::gemm(context(static_cast<int>(draw.between(1, 3))), options,
                {x.slice(row, row + count), before, k}, w, bias, {parts.slice(row, row + count), before, n});
      row += count;
    }
    ASSERT_TRUE(same_bits(all, parts));
    const int64_t alone = draw.between(0, m - 1);
    ops::gemm(ctx_, options, {x.slice(alone, alone + 1), before, k}, w, bias,
              {parts.slice(alone, alone + 1), before, n});
    ASSERT_TRUE(same_bits(all, parts)) << "row " << alone << " alone";
  }
}

// Blocks of columns, which follow from the size, neither; those of products of 64 rows do not depend on them.
TEST_P(RowsOfProducts, ColumnsHaveBitsOfTheirOwn) {
  if (dtype() != DType::f32 && ops::has_native_gemm(ctx_, dtype()) &&
      ops::cpu::half_rows(dtype()).blocks == ops::cpu::RowBlocks::of_64)
    GTEST_SKIP() << "blocks of columns follow from the columns alone";
  for (const int64_t m : {1, 40, 600}) {
    const int64_t n = 1600, k = 130;
    const Tensor x = random_tensor(ctx_, {m, k}, dtype(), 1), w = random_tensor(ctx_, {n, k}, dtype(), 2);
    const Tensor all = Tensor::empty(ctx_, {m, n}, DType::f32),
                 parts = Tensor::empty(ctx_, {m, n}, DType::f32);
    ops::linear(ctx_, x, w, {}, all);
    for (int64_t column = 0, count = 1; column < n;
         column += count, count = std::min(2 * count + 5, n - column)) {
      ops::linear(threads_, x, w.slice(column, column + count), {}, {parts, column, count});
    }
    EXPECT_TRUE(same_bits(all, parts)) << m << " rows";
  }
}

TEST_P(RowsOfProducts, AreSaidToBeIndependent) {
  EXPECT_TRUE(ops::rows_are_independent(ctx_, dtype()));
  if (!ops::has_native_gemm(ctx_, dtype()) || dtype() == DType::f32) return;
  EXPECT_TRUE(ops::cpu::are_independent(dtype(), ops::cpu::half_rows(dtype()).blocks));
}

// What is done where oneDNN's kernels for few rows add up in another order.
TEST_P(RowsOfProducts, InBlocksOfOneSize) {
  if (!ops::has_native_gemm(ctx_, dtype()) || dtype() == DType::f32)
    GTEST_SKIP() << "not multiplied natively";
  EXPECT_TRUE(ops::cpu::are_independent(dtype(), ops::cpu::RowBlocks::of_64));
  const int64_t n = 70, k = 300;
  const Tensor w = random_tensor(ctx_, {n, k}, dtype(), 2), bias = random_tensor(ctx_, {n}, DType::f32, 3);
  for (const int64_t m : {1, 63, 64, 65, 200}) {
    for (const int64_t around : {0, 2}) {
      const ops::Columns x = {random_tensor(ctx_, {m, k + around}, dtype(), 1), around, k};
      const Tensor y = full(ctx_, {m, around + n + around}, DType::f32, 5.0f), fixed = clone(ctx_, y);
      const ops::Columns y_columns = {y, around, n}, fixed_columns = {fixed, around, n};
      ops::gemm(ctx_, {.transpose_b = true, .alpha = 0.5f}, x, w, bias, y_columns);
      ASSERT_TRUE(ops::cpu::half_gemm(ctx_, 3, ops::cpu::RowBlocks::of_64,
                                      {.transpose_b = true, .alpha = 0.5f}, x, w, bias, fixed_columns));
      const auto expected = to_vector(y);
      expect_close(to_vector(fixed), {expected.begin(), expected.end()}, 1e-5, 20);
    }
  }
}

TEST_P(RowsOfProducts, OfExpertsAreThoseOfLinear) {
  const int64_t in = 400, out = 130;
  const std::vector<int64_t> counts = {0, 1, 300, 0, 7, 48, 2};
  const auto num_experts = static_cast<int64_t>(counts.size());
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const Tensor x = random_tensor(ctx_, {rows, in}, dtype(), 1),
               w = random_tensor(ctx_, {num_experts * out, in}, dtype(), 2);
  const Tensor y = Tensor::empty(ctx_, {rows, out}, dtype()),
               expected = Tensor::empty(ctx_, {rows, out}, dtype());
  ops::grouped_linear(threads_, x, counts, w, y);
  int64_t row = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    for (const int64_t end = row + counts[static_cast<size_t>(e)]; row < end; ++row) {
      ops::linear(ctx_, x.slice(row, row + 1), w.slice(e * out, (e + 1) * out), {},
                  expected.slice(row, row + 1));
    }
  }
  EXPECT_TRUE(same_bits(y, expected));
}

TEST_P(RowsOfProducts, BeforeGeluToo) {
  const int64_t m = 65, n = 70, k = 390;
  const Tensor x = random_tensor(ctx_, {m, k}, dtype(), 1), w = random_tensor(ctx_, {n, k}, dtype(), 2),
               bias = random_tensor(ctx_, {n}, DType::f32, 3);
  const Tensor h = Tensor::empty(ctx_, {m, n}, dtype()), y = clone(ctx_, h), h_alone = clone(ctx_, h),
               y_alone = clone(ctx_, h);
  ops::linear_gelu(ctx_, x, w, bias, h, y);
  for (int64_t r = 0; r < m; ++r) {
    ops::linear_gelu(threads_, x.slice(r, r + 1), w, bias, h_alone.slice(r, r + 1), y_alone.slice(r, r + 1));
  }
  EXPECT_TRUE(same_bits(h, h_alone));
  EXPECT_TRUE(same_bits(y, y_alone));
}

}  // namespace
}  // namespace trireme::test
