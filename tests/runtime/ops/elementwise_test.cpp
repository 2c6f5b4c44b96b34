#include "runtime/ops/elementwise.h"

#include <limits>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using ElementwiseTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(ElementwiseTest);

constexpr int64_t kSizes[] = {0, 1, 13, 4096, 4097, 70001};

Tensor zero_sum(Context& ctx, double initial = 0) {
  const Tensor out = Tensor::empty(ctx, {1}, DType::f64);
  write(out, std::vector<double>{initial});
  return out;
}

TEST_P(ElementwiseTest, FillScaleAddAccumulate) {
  for (const int64_t n : kSizes) {
    const Tensor a = random_tensor(ctx_, {n}, dtype(), 1), b = random_tensor(ctx_, {n}, dtype(), 2);
    const Tensor total = random_tensor(ctx_, {n, 1}, DType::f32, 3),
                 filled = Tensor::empty(ctx_, {n}, dtype());
    const auto as = to_vector(a), bs = to_vector(b), totals = to_vector(total);
    std::vector<double> sum, scaled, accumulated;
    for (size_t i = 0; i < as.size(); ++i) {
      sum.push_back(double{as[i]} + bs[i]);
      scaled.push_back(double{as[i]} * -1.7f);
      accumulated.push_back(double{as[i]} + totals[i]);
    }
    ops::accumulate(threads_, a, total);
    expect_close(to_vector(total), accumulated, 1e-6);
    ops::add(threads_, a, b, b);
    expect_close(to_vector(b), sum, tolerance());
    ops::scale(threads_, a, -1.7f);
    expect_close(to_vector(a), scaled, tolerance());
    ops::fill(threads_, filled, 0.5);
    EXPECT_EQ(to_vector(filled), std::vector<float>(static_cast<size_t>(n), 0.5f));
  }
}

TEST_P(ElementwiseTest, CopyRoundsAsTheTypesDo) {
  for (const int64_t n : kSizes) {
    Tensor from = random_tensor(ctx_, {n}, dtype(), 4);
    if (n > 20000) {  // more than one thread's share
      float specials[] = {
          std::numeric_limits<float>::infinity(), 1e-6f, -1e-6f, 6e-8f, 65504.0f, 1e30f, -0.0f};
      std::vector<float> values = to_vector(from);
      std::copy(std::begin(specials), std::end(specials), values.begin());
      from = make_tensor(ctx_, {n}, dtype(), values);
    }
    for (const DType to_type : {DType::f32, DType::bf16, DType::f16}) {
      const Tensor to = Tensor::empty(ctx_, {1, n}, to_type);
      ops::copy(threads_, from, to);
      EXPECT_TRUE(same_bits(to, make_tensor(ctx_, {n}, to_type, to_vector(from)))) << to_string(to_type);
    }
  }
}

TEST_P(ElementwiseTest, CopyKeepsNotANumber) {
  const Tensor from = full(ctx_, {100}, dtype(), std::numeric_limits<float>::quiet_NaN());
  for (const DType to_type : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor to = full(ctx_, {100}, to_type, 1.0f);
    ops::copy(ctx_, from, to);
    EXPECT_THAT(to_vector(to), testing::Each(testing::IsNan()));
  }
}

TEST_P(ElementwiseTest, SumsAreExactToDoublesAndIndependentOfThreads) {
  for (const int64_t n : kSizes) {
    const Tensor t = random_tensor(ctx_, {n}, dtype(), 5);
    const Tensor sum = zero_sum(ctx_, 0.25), squares = zero_sum(ctx_, 0.25);
    const Tensor other_sum = zero_sum(ctx_, 0.25), other_squares = zero_sum(ctx_, 0.25);
    long double expected_sum = 0.25L, expected_squares = 0.25L;
    for (const float x : to_vector(t)) {
      expected_sum += x;
      expected_squares += static_cast<long double>(x) * x;
    }
    ops::add_sum(ctx_, t, sum);
    ops::add_sum_of_squares(ctx_, t, squares);
    EXPECT_NEAR(read<double>(sum)[0], static_cast<double>(expected_sum), 1e-11);
    EXPECT_NEAR(read<double>(squares)[0], static_cast<double>(expected_squares),
                1e-14 * static_cast<double>(n + 1));
    ops::add_sum(threads_, t, other_sum);
    ops::add_sum_of_squares(threads_, t, other_squares);
    EXPECT_TRUE(same_bits(sum, other_sum));
    EXPECT_TRUE(same_bits(squares, other_squares));
  }
}

TEST_P(ElementwiseTest, SumsOfBlocksAddedInOrderAreTheSumOfSquares) {
  const int64_t blocks = 37;
  const Tensor t = random_tensor(ctx_, {blocks * ops::kSumBlock}, dtype(), 6);
  const Tensor whole = zero_sum(ctx_, 0.25), pieces = zero_sum(ctx_, 0.25);
  ops::add_sum_of_squares(ctx_, t, whole);
  const Tensor sums = Tensor::empty(ctx_, {blocks}, DType::f64);
  // In two parts, the way two ranks would.
  ops::block_sums_of_squares(threads_, t.slice(0, 11 * ops::kSumBlock), sums.slice(0, 11));
  ops::block_sums_of_squares(ctx_, t.slice(11 * ops::kSumBlock, t.numel()), sums.slice(11, blocks));
  threads_.stream().synchronize();
  ops::add_in_order(ctx_, sums, pieces);
  EXPECT_TRUE(same_bits(whole, pieces));
}

TEST(Elementwise, ManySumsAreAddedInRuns) {
  Context ctx(test_device());
  for (const int64_t n :
       {int64_t{0}, int64_t{1}, ops::kSumRun, ops::kSumRun + 1, 3 * ops::kSumRun - 5, 515 * ops::kSumRun}) {
    std::vector<double> values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0 / static_cast<double>(3 * i + 1);
    double expected = n == 0 ? 0.7 : 0;
    for (int64_t begin = 0; begin < n; begin += ops::kSumRun) {
      double run = begin == 0 ? 0.7 : 0;
      for (int64_t i = begin; i < std::min(n, begin + ops::kSumRun); ++i)
        run += values[static_cast<size_t>(i)];
      expected += run;
    }
    const Tensor sums = Tensor::empty(ctx, {n}, DType::f64), out = zero_sum(ctx, 0.7);
    write(sums, values);
    ops::add_in_order(ctx, sums, out);
    EXPECT_EQ(read<double>(out)[0], expected) << n;
  }
}

TEST_P(ElementwiseTest, RefusesWhatDoesNotFit) {
  const Tensor t = full(ctx_, {4}, dtype(), 1.0f), other = full(ctx_, {5}, dtype(), 1.0f);
  const Tensor ids = make_indices(ctx_, {1, 2, 3, 4});
  EXPECT_THROW(ops::fill(ctx_, Tensor::empty(ctx_, {4}, DType::u8), 0), InternalError);
  EXPECT_THROW(ops::scale(ctx_, ids, 2.0f), InternalError);
  EXPECT_THROW(ops::add(ctx_, t, other, t), InternalError);
  EXPECT_THROW(ops::add(ctx_, t, t, other), InternalError);
  EXPECT_THROW(ops::add(ctx_, t, t, ids), InternalError);
  EXPECT_THROW(ops::accumulate(ctx_, other, full(ctx_, {4}, DType::f32, 0.0f)), InternalError);
  EXPECT_THROW(ops::accumulate(ctx_, t, ids), InternalError);
  EXPECT_THROW(ops::copy(ctx_, t, other), InternalError);
  EXPECT_THROW(ops::copy(ctx_, t, ids), InternalError);
  EXPECT_THROW(ops::add_sum(ctx_, t, Tensor::empty(ctx_, {2}, DType::f64)), InternalError);
  EXPECT_THROW(ops::add_sum_of_squares(ctx_, t, full(ctx_, {1}, DType::f32, 0.0f)), InternalError);
  EXPECT_THROW(ops::block_sums_of_squares(ctx_, t, zero_sum(ctx_, 0)), InternalError) << "a part of a block";
  EXPECT_THROW(ops::add_in_order(ctx_, t, zero_sum(ctx_, 0)), InternalError);
}

// As x * sqrt(hidden) where both are of the type: one rounding of the factor and one of each product.
TEST_P(ElementwiseTest, ScalesByANumberOfTheType) {
  const float root = std::sqrt(2304.0f * 1.1f), factor = ops::rounded_to(dtype(), root);
  EXPECT_EQ(factor, to_vector(make_tensor(ctx_, {1}, dtype(), {root}))[0]);
  EXPECT_EQ(factor != root, dtype() != DType::f32);
  const Tensor x = random_tensor(ctx_, {1031}, dtype(), 1);
  std::vector<float> products;
  for (const float value : to_vector(x)) products.push_back(value * factor);
  ops::scale(threads_, x, factor);
  EXPECT_EQ(to_vector(x), to_vector(make_tensor(ctx_, {1031}, dtype(), products)));
}

TEST_P(ElementwiseTest, SoftCapsMatchDoublesFromTinyToInfiniteNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{0, 4}, {1, 12}, {40, 1031}}) {
    Tensor x = random_tensor(ctx_, {rows, width}, dtype(), 1, 20.0f);
    if (rows == 1) {
      x = make_tensor(ctx_, {rows, width}, dtype(),
                      {0, 1e-4f, -1e-4f, 0.01f, 17.9f, 18.1f, -17.9f, -18.1f, 6e4f, -6e4f, inf, -inf});
    }
    const ops::Columns columns = widened(ctx_, x, 3, 2);
    std::vector<double> expected;
    for (const float value : to_vector(x)) expected.push_back(30 * std::tanh(double{value} / 30));
    ops::soft_cap(threads_, columns, 30.0f);
    expect_close(to_vector(columns), expected, dtype() == DType::f32 ? 1e-6 : tolerance(), 1e-5);
  }
  EXPECT_THROW(ops::soft_cap(ctx_, full(ctx_, {2, 2}, dtype(), 1.0f), 0.0f), InternalError);
}

TEST_P(ElementwiseTest, ZeroesWhereAByteIsSet) {
  for (const int64_t n : kSizes) {
    const Tensor t = random_tensor(ctx_, {n}, dtype(), 6), where = Tensor::empty(ctx_, {n}, DType::u8);
    std::vector<float> expected = to_vector(t);
    std::vector<uint8_t> mask(expected.size());
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint8_t>(i % 3 == 0 ? 0 : i % 256);
    if (n > 10) expected[1] = std::numeric_limits<float>::quiet_NaN();
    if (n > 10) expected[3] = std::numeric_limits<float>::infinity();  // which stays
    write(where, mask);
    const Tensor masked = make_tensor(ctx_, {n}, dtype(), expected);
    ops::zero_where(threads_, where, masked);
    for (size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] != 0) expected[i] = 0;
    }
    EXPECT_TRUE(same_bits(masked, make_tensor(ctx_, {n}, dtype(), expected)));
  }
  const Tensor four = full(ctx_, {4}, dtype(), 1), bytes = Tensor::empty(ctx_, {3}, DType::u8);
  EXPECT_THROW(ops::zero_where(ctx_, bytes, four), InternalError);
  EXPECT_THROW(ops::zero_where(ctx_, four, four), InternalError);
}

TEST(Elementwise, FillsAndCopiesOtherTypes) {
  Context ctx(test_device());
  const Tensor ids = make_indices(ctx, {1, 2, 3}), other = make_indices(ctx, {0, 0, 0});
  ops::copy(ctx, ids, other);
  EXPECT_TRUE(same_bits(ids, other));
  ops::fill(ctx, ids, -7);
  EXPECT_EQ(read<int32_t>(ids)[2], -7);
  const Tensor sum = zero_sum(ctx);
  ops::fill(ctx, sum, 0.1);
  EXPECT_EQ(read<double>(sum)[0], 0.1);
}

TEST_P(ElementwiseTest, CopiesColumnsIntoTheirPlaceAndNothingElse) {
  for (const int64_t rows : {int64_t{0}, int64_t{1}, int64_t{5}, int64_t{9000}}) {
    const Tensor from = random_tensor(ctx_, {rows, 7}, dtype(), 1),
                 to = random_tensor(ctx_, {rows, 5}, dtype(), 2);
    const auto in = to_vector(from);
    auto expected = to_vector(to);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < 3; ++c)
        expected[static_cast<size_t>(r * 5 + 1 + c)] = in[static_cast<size_t>(r * 7 + 4 + c)];
    }
    ops::copy_columns(threads_, {from, 4, 3}, {to, 1, 3});
    EXPECT_EQ(to_vector(to), expected);
    EXPECT_THROW(ops::copy_columns(ctx_, {from, 4, 3}, {to, 3, 3}), InternalError);
    EXPECT_THROW(ops::copy_columns(ctx_, {from, 5, 3}, {to, 0, 3}), InternalError);
    EXPECT_THROW(ops::copy_columns(ctx_, {from, 0, 2}, {to, 0, 3}), InternalError);
  }
}

}  // namespace
}  // namespace trireme::test
