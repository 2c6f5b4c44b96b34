// What holds of rounding whatever the matrix: against quantize_row(), between methods, and on Hessians and
// weights that go wrong.
#include "models/compress/quantize_matrix.h"

#include <limits>
#include <set>

#include <gmock/gmock.h>

#include "runtime/ops/packed/quantize_row.h"
#include "tests/models/compress/matrices.h"
#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using test::correlated_inputs;
using test::drawn_weights;
using test::error_of;
using test::statistics_of;
using test::values_of;
using testing::HasSubstr;

constexpr int64_t kOutputs = 50;
constexpr ops::PackedSpec kInt4{PackedFormat::int4, 32};

const std::vector<ops::PackedSpec> kSpecs = {kInt4,
                                             {PackedFormat::int4, 64, false},
                                             {PackedFormat::int4, 0},
                                             {PackedFormat::int8, 128},
                                             {PackedFormat::int8, 0, false},
                                             {PackedFormat::fp8, 0}};
const std::vector<ColumnOrder> kOrders = {ColumnOrder::as_is, ColumnOrder::static_groups,
                                          ColumnOrder::groups};

class QuantizeMatrix : public testing::Test {
 protected:
  RoundedMatrix round(const std::vector<float>& w, const InputStatistics& s, const RoundingOptions& options,
                      int threads = 2) {
    Context ctx({}, threads);
    const int64_t inputs = s.inputs == 0 ? std::ssize(w) / kOutputs : s.inputs;
    return quantize_matrix(ctx, w, std::ssize(w) / inputs, inputs, s, options);
  }
  static RoundingOptions gptq(const ops::PackedSpec& spec, ColumnOrder order = ColumnOrder::as_is) {
    return {.spec = spec, .method = RoundingMethod::gptq, .order = order};
  }
  void expect_finite(const RoundedMatrix& m) {
    for (const float scale : m.matrix.scales) EXPECT_TRUE(std::isfinite(scale) && scale >= 0) << scale;
    for (const uint8_t code : m.matrix.codes) {
      EXPECT_LT(code, m.matrix.spec.format == PackedFormat::int4 ? 16 : 256);
    }
    EXPECT_TRUE(std::isfinite(m.report.error));
  }
  static void expect_same(const RoundedMatrix& a, const RoundedMatrix& b) {
    EXPECT_EQ(a.matrix.codes, b.matrix.codes);
    EXPECT_EQ(a.matrix.scales, b.matrix.scales);
    EXPECT_EQ(a.matrix.zeros, b.matrix.zeros);
    EXPECT_EQ(a.matrix.order, b.matrix.order);
  }
};

TEST_F(QuantizeMatrix, NearestIsQuantizeRow) {
  constexpr int64_t kInputs = 150;
  const auto w = drawn_weights(kOutputs * kInputs, 1);
  for (const auto& spec : kSpecs) {
    SCOPED_TRACE(ops::to_string(spec));
    const RoundedMatrix rounded = round(w, {}, {.spec = spec});
    const auto groups = static_cast<size_t>(ops::groups_of(spec, kInputs));
    std::vector<uint8_t> codes(kInputs), zeros(groups);
    std::vector<float> scales(groups);
    double error = 0, whole = 0;
    const auto values = values_of(rounded.matrix);
    for (size_t row = 0; row < static_cast<size_t>(kOutputs); ++row) {
      ops::quantize_row(spec, std::span(w).subspan(row * kInputs, kInputs), {codes, scales, zeros});
      EXPECT_TRUE(std::equal(codes.begin(), codes.end(),
                             rounded.matrix.codes.begin() + static_cast<ptrdiff_t>(row) * kInputs));
      EXPECT_TRUE(std::equal(scales.begin(), scales.end(),
                             rounded.matrix.scales.begin() + static_cast<ptrdiff_t>(row * groups)));
      if (!spec.symmetric) {
        EXPECT_TRUE(std::equal(zeros.begin(), zeros.end(),
                               rounded.matrix.zeros.begin() + static_cast<ptrdiff_t>(row * groups)));
      }
    }
    for (size_t i = 0; i < w.size(); ++i) {
      error += std::pow(static_cast<double>(w[i]) - static_cast<double>(values[i]), 2);
      whole += std::pow(static_cast<double>(w[i]), 2);
    }
    EXPECT_NEAR(rounded.report.error, error / whole, 1e-12);
    EXPECT_EQ(rounded.report.note, "");
  }
}

TEST_F(QuantizeMatrix, GptqLosesLessAndSaysHowMuch) {
  constexpr int64_t kInputs = 150;
  const auto w = drawn_weights(kOutputs * kInputs, 2);
  const auto s = statistics_of(correlated_inputs(400, kInputs, 3), kInputs);
  const double whole = error_of(w, std::vector<float>(w.size()), s);
  for (const auto& spec : kSpecs) {
    SCOPED_TRACE(ops::to_string(spec));
    const RoundedMatrix plain = round(w, s, {.spec = spec});
    EXPECT_NEAR(plain.report.error, error_of(w, values_of(plain.matrix), s) / whole,
                1e-9 * plain.report.error);
    for (const ColumnOrder order : kOrders) {
      const RoundedMatrix rounded = round(w, s, gptq(spec, order));
      EXPECT_LT(rounded.report.error, 0.5 * plain.report.error);
      EXPECT_NEAR(rounded.report.error, error_of(w, values_of(rounded.matrix), s) / whole,
                  1e-8 * rounded.report.error);
    }
  }
}

TEST_F(QuantizeMatrix, BitsDoNotDependOnThreadsAndRowsNotOnOneAnother) {
  constexpr int64_t kInputs = 270, kRows = 101;
  const auto w = drawn_weights(kRows * kInputs, 6);
  const auto s = statistics_of(correlated_inputs(300, kInputs, 7), kInputs);
  for (const auto& spec : kSpecs) {
    for (const ColumnOrder order : kOrders) {
      RoundingOptions options = gptq(spec, order);
      options.clips = spec == kInt4;
      const RoundedMatrix one = round(w, s, options, 1), three = round(w, s, options, 3);
      expect_same(one, three);
      EXPECT_EQ(one.report.error, three.report.error);
      const std::vector<float> part(w.begin() + 13 * kInputs, w.begin() + 20 * kInputs);
      const RoundedMatrix some = round(part, s, options, 2);
      EXPECT_TRUE(std::equal(some.matrix.codes.begin(), some.matrix.codes.end(),
                             one.matrix.codes.begin() + 13 * kInputs));
    }
  }
}

TEST_F(QuantizeMatrix, OrderIsByFallingDiagonal) {
  constexpr int64_t kInputs = 70;
  const auto w = drawn_weights(kOutputs * kInputs, 8);
  const auto s = statistics_of(correlated_inputs(100, kInputs, 9), kInputs);
  const RoundedMatrix rounded = round(w, s, gptq(kInt4, ColumnOrder::groups));
  const auto& order = rounded.matrix.order;
  ASSERT_EQ(std::ssize(order), kInputs);
  EXPECT_EQ(std::ssize(std::set<int32_t>(order.begin(), order.end())), kInputs);
  for (size_t i = 1; i < order.size(); ++i) {
    EXPECT_GE(s.hessian[static_cast<size_t>(order[i - 1] * (kInputs + 1))],
              s.hessian[static_cast<size_t>(order[i] * (kInputs + 1))]);
  }
  EXPECT_TRUE(round(w, s, gptq(kInt4, ColumnOrder::static_groups)).matrix.order.empty());
  EXPECT_TRUE(round(w, s, gptq({PackedFormat::int4, 0}, ColumnOrder::groups)).matrix.order.empty());
}

TEST_F(QuantizeMatrix, SingularHessians) {
  constexpr int64_t kInputs = 65;
  const auto w = drawn_weights(kOutputs * kInputs, 10);
  auto doubled = correlated_inputs(100, kInputs, 11);
  for (size_t t = 0; t < 100; ++t) {
    for (size_t i = 40; i < 60; ++i) doubled[t * kInputs + i] = doubled[t * kInputs + i - 40];
  }
  for (const auto& x : {doubled, correlated_inputs(1, kInputs, 12), correlated_inputs(3, kInputs, 13)}) {
    const auto s = statistics_of(x, kInputs);
    const RoundedMatrix plain = round(w, s, {.spec = kInt4});
    for (const ColumnOrder order : kOrders) {
      const RoundedMatrix rounded = round(w, s, gptq(kInt4, order));
      expect_finite(rounded);
      EXPECT_LT(rounded.report.error, plain.report.error);
      EXPECT_EQ(rounded.report.damping, 0.01);
      EXPECT_EQ(rounded.report.note, "");
      RoundingOptions undamped = gptq(kInt4, order);
      undamped.damping = 0;
      const RoundedMatrix grown = round(w, s, undamped);
      expect_finite(grown);
      EXPECT_GT(grown.report.damping, 0);
      EXPECT_THAT(grown.report.note, HasSubstr("factors with a damping of 1e-06, not of 0"));
      EXPECT_LT(grown.report.error, plain.report.error);
    }
  }
}

TEST_F(QuantizeMatrix, DampingGrowsUntilItFactors) {
  constexpr int64_t kInputs = 40;
  const auto w = drawn_weights(kOutputs * kInputs, 14);
  auto s = statistics_of(correlated_inputs(100, kInputs, 15), kInputs);
  for (int64_t i = 0; i < kInputs; ++i) s.hessian[static_cast<size_t>(i * (kInputs + 1))] = 1;
  for (int64_t i = 0; i < kInputs; ++i) {
    for (int64_t j = 0; j < kInputs; ++j) {
      if (i != j) s.hessian[static_cast<size_t>(i * kInputs + j)] = 2;  // the least eigenvalue is -1
    }
  }
  const RoundedMatrix rounded = round(w, s, gptq(kInt4));
  expect_finite(rounded);
  EXPECT_EQ(rounded.report.damping, 10);
  EXPECT_EQ(rounded.report.note, "its Hessian factors with a damping of 10, not of 0.01");
}

TEST_F(QuantizeMatrix, WhatNeverFactorsIsRoundedToNearest) {
  constexpr int64_t kInputs = 40;
  const auto w = drawn_weights(kOutputs * kInputs, 16);
  const RoundedMatrix plain = round(w, {}, {.spec = kInt4});
  auto s = statistics_of(correlated_inputs(100, kInputs, 17), kInputs);
  auto wrong = s;
  wrong.hessian[kInputs + 2] = wrong.hessian[2 * kInputs + 1] = 1e9 * s.hessian[kInputs + 1];
  auto nan = s, infinite = s, zero = s;
  nan.hessian[2 * kInputs + 7] = std::numeric_limits<double>::quiet_NaN();
  infinite.hessian[0] = std::numeric_limits<double>::infinity();
  std::fill(zero.hessian.begin(), zero.hessian.end(), 0.0);
  for (const auto& [statistics, note] :
       {std::pair{wrong, "factors with no damping from 0.01 to 1e+03: rounded to nearest instead of GPTQ"},
        {nan, "its Hessian has nan at [2, 7]: rounded to nearest instead of GPTQ"},
        {infinite, "its Hessian has inf at [0, 0]"},
        {zero, "all its inputs were zero: rounded to nearest"},
        {InputStatistics{}, "no calibration token reached it: rounded to nearest"}}) {
    for (const bool clips : {false, true}) {
      RoundingOptions options = gptq(kInt4, ColumnOrder::groups);
      options.clips = clips;
      const RoundedMatrix rounded = round(w, statistics, options);
      EXPECT_THAT(rounded.report.note, HasSubstr(note));
      expect_same(rounded, plain);
      expect_finite(rounded);
    }
  }
}

TEST_F(QuantizeMatrix, UnitsOfInputsDoNotMatter) {
  constexpr int64_t kInputs = 70;
  const auto w = drawn_weights(kOutputs * kInputs, 18);
  auto s = statistics_of(correlated_inputs(100, kInputs, 19), kInputs);
  const RoundedMatrix as_is = round(w, s, gptq(kInt4));
  for (const double factor : {0x1p900, 0x1p-900}) {
    auto other = s;
    for (double& x : other.hessian) x *= factor;
    const RoundedMatrix rounded = round(w, other, gptq(kInt4));
    expect_same(rounded, as_is);
    EXPECT_EQ(rounded.report.error, as_is.report.error);
  }
}

TEST_F(QuantizeMatrix, HugeAndTinyWeights) {
  constexpr int64_t kInputs = 70;
  const auto s = statistics_of(correlated_inputs(100, kInputs, 20), kInputs);
  for (const float scale : {1e37f, 1e-30f, 1e-41f, 0.0f}) {
    const auto w = drawn_weights(kOutputs * kInputs, 21, scale);
    for (const auto& spec : kSpecs) {
      RoundingOptions options = gptq(spec);
      options.clips = true;
      expect_finite(round(w, s, options));
    }
  }
}

TEST_F(QuantizeMatrix, DeadInputsBecomeZero) {
  constexpr int64_t kInputs = 70;
  const auto w = drawn_weights(kOutputs * kInputs, 22);
  auto x = correlated_inputs(100, kInputs, 23);
  for (size_t t = 0; t < 100; ++t) x[t * kInputs] = x[t * kInputs + 69] = 0;
  const auto s = statistics_of(x, kInputs);
  for (const auto& spec : kSpecs) {
    const RoundedMatrix rounded = round(w, s, gptq(spec, ColumnOrder::groups));
    EXPECT_EQ(rounded.report.dead, 2);
    const auto values = values_of(rounded.matrix);
    for (size_t row = 0; row < kOutputs; ++row) {
      EXPECT_EQ(values[row * kInputs], 0);
      EXPECT_EQ(values[row * kInputs + 69], 0);
    }
  }
}

TEST_F(QuantizeMatrix, RefusesWeightsThatAreNotFinite) {
  auto w = drawn_weights(kOutputs * 40, 24);
  w[3 * 40 + 7] = std::numeric_limits<float>::infinity();
  test::expect_error(ExitCode::bad_input, {"row 3", "inf", "input 7"}, [&] { round(w, {}, gptq(kInt4)); });
}

TEST_F(QuantizeMatrix, OutputError) {
  const auto d = drawn_weights(kOutputs * 77, 25);
  const auto s = statistics_of(correlated_inputs(30, 77, 26), 77);
  Context ctx({}, 3);
  const double expected = error_of(d, std::vector<float>(d.size()), s);
  EXPECT_NEAR(output_error(ctx, d, kOutputs, s), expected, 1e-12 * expected);
}

}  // namespace
}  // namespace trireme
