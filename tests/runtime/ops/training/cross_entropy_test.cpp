#include "runtime/ops/training/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

using test::make_tensor;
using test::random_tensor;
using test::to_vector;
using test::widened;

Tensor make_targets(Context& ctx, const std::vector<int32_t>& values) {
  const Tensor t = Tensor::empty(ctx, {static_cast<int64_t>(values.size())}, DType::i32);
  test::write(t, values);
  return t;
}

// Absent where there are none.
Tensor make_weights(Context& ctx, const std::vector<float>& values) {
  return values.empty() ? Tensor() : make_tensor(ctx, {std::ssize(values)}, DType::f32, values);
}

struct Result {
  std::vector<float> loss, gradient, added = {};
  friend bool operator==(const Result&, const Result&) = default;
};

Result run(Context& ctx, const Tensor& logits, const std::vector<int32_t>& targets,
           const ops::CrossEntropyOptions& options, bool in_place = false,
           const std::vector<float>& weights = {}) {
  const Tensor loss = Tensor::empty(ctx, {logits.dim(0)}, DType::f32),
               added = Tensor::empty(ctx, {logits.dim(0)}, DType::f32);
  const Tensor gradient = in_place ? logits : Tensor::empty(ctx, logits.shape(), logits.dtype());
  ops::cross_entropy(ctx, logits, make_targets(ctx, targets), options, loss, gradient, added,
                     make_weights(ctx, weights));
  return {to_vector(loss), to_vector(gradient), to_vector(added)};
}

Result run(Context& ctx, const Tensor& logits, const std::vector<int32_t>& targets, float scale,
           bool in_place = false, float cap = 0) {
  return run(ctx, logits, targets, {.gradient_scale = scale, .soft_cap = cap}, in_place);
}

void expect_definition(const Tensor& logits, const std::vector<int32_t>& targets,
                       const ops::CrossEntropyOptions& o, const Result& got,
                       const std::vector<float>& weights = {}) {
  const int64_t v = logits.dim(1);
  const double cap = o.soft_cap, z = o.z_loss, smoothing = o.label_smoothing;
  const auto raw = to_vector(logits);
  std::vector<double> x(raw.begin(), raw.end());
  if (cap > 0) {
    for (double& value : x) value = cap * std::tanh(value / cap);
  }
  // Of a capped logit of ten some digits are lost to its size before its exponent is taken.
  const double exact = cap > 0 ? 1e-5 : 1e-6;
  const double rounding = logits.dtype() == DType::bf16  ? 0x1p-8
                          : logits.dtype() == DType::f16 ? 0x1p-11 + (cap > 0 ? exact : 0)
                                                         : exact;
  for (int64_t r = 0; r < logits.dim(0); ++r) {
    const double* row = &x[r * v];
    const double max = *std::max_element(row, row + v), total = std::accumulate(row, row + v, 0.0);
    double sum = 0;
    for (int64_t i = 0; i < v; ++i) sum += std::exp(row[i] - max);
    const double weight = weights.empty() ? 1.0 : double{weights[r]}, scale = o.gradient_scale * weight;
    const bool counts = targets[r] != ops::kIgnoredTarget;
    const double log_sum = std::log(sum) + max, at_target = counts ? row[targets[r]] : 0;
    const double loss = counts ? weight * (log_sum - at_target) : 0.0;
    const double added =
        counts ? weight * (z * log_sum * log_sum + smoothing * (at_target - total / static_cast<double>(v)))
               : 0.0;
    ASSERT_NEAR(got.loss[r], loss, exact * std::max(1.0, loss)) << "row " << r;
    ASSERT_NEAR(got.added[r], added, exact * std::max(1.0, weight * std::abs(at_target))) << "row " << r;
    for (int64_t i = 0; i < v; ++i) {
      const double p = std::exp(row[i] - max) / sum;
      const double slope = cap > 0 ? 1 - (row[i] / cap) * (row[i] / cap) : 1;
      const double expected = (i == targets[r] ? 1 - smoothing : 0.0) + smoothing / static_cast<double>(v);
      const double steep = p * (1 + 2 * z * log_sum);
      const double gradient = counts ? scale * (steep - expected) * slope : 0.0;
      // What is subtracted has digits that the difference has not; fp16 steps by 2^-24 near zero.
      const double lost = z > 0 || smoothing > 0 ? exact * scale * (steep + expected) : 0;
      ASSERT_NEAR(got.gradient[r * v + i], gradient, rounding * std::abs(gradient) + lost + 0x1p-24)
          << r << ", " << i;
    }
  }
}

void expect_definition(const Tensor& logits, const std::vector<int32_t>& targets, float scale,
                       const Result& got, float cap = 0) {
  expect_definition(logits, targets, {.gradient_scale = scale, .soft_cap = cap}, got);
}

std::vector<int32_t> drawn_targets(int64_t rows, int64_t v, int64_t ignored_every) {
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < rows; ++r) {
    const bool is_ignored = r % ignored_every == ignored_every - 1;
    targets.push_back(is_ignored ? ops::kIgnoredTarget : static_cast<int32_t>((r * 7919 + v - 1) % v));
  }
  return targets;
}

// What practitioners use, and more, and all of it together.
const ops::CrossEntropyOptions kAdded[] = {{.gradient_scale = 0.25f, .z_loss = 1e-4f},
                                           {.gradient_scale = 0.25f, .label_smoothing = 0.1f},
                                           {.gradient_scale = 1, .z_loss = 0.02f, .label_smoothing = 0.3f},
                                           {.soft_cap = 3, .z_loss = 0.02f, .label_smoothing = 0.3f}};

class CrossEntropy : public testing::TestWithParam<DType> {};

TEST_P(CrossEntropy, MatchesDoublePrecisionOnAnyNumberOfThreads) {
  Context one(test::test_device()), two(test::test_device(), 2);
  for (const auto& [rows, v] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {64, 33}, {7, 1023}, {5, 1025}, {3, 50257}}) {
    SCOPED_TRACE(fmt::format("{}x{}", rows, v));
    const Tensor logits = random_tensor(one, {rows, v}, GetParam(), 7, 4.0f);
    const std::vector<int32_t> targets = drawn_targets(rows, v, 3);
    const Result got = run(one, logits, targets, 0.25f);
    expect_definition(logits, targets, 0.25f, got);
    EXPECT_EQ(run(two, logits, targets, 0.25f), got) << "two threads";
    EXPECT_EQ(run(one, logits, targets, 0.25f, true), got) << "in place";
  }
}

TEST_P(CrossEntropy, CappedLogitsMatchDoublePrecision) {
  Context one(test::test_device()), two(test::test_device(), 2);
  for (const auto& [v, cap] : {std::pair<int64_t, float>{1, 2.0f}, {37, 3.0f}, {1031, 30.0f}}) {
    SCOPED_TRACE(fmt::format("{} columns, cap {}", v, cap));
    const int64_t rows = 12;
    const Tensor logits = random_tensor(one, {rows, v}, GetParam(), 7, 4.0f);
    const std::vector<int32_t> targets = drawn_targets(rows, v, 3);
    const Result got = run(one, logits, targets, 0.25f, false, cap);
    expect_definition(logits, targets, 0.25f, got, cap);
    EXPECT_EQ(run(two, logits, targets, 0.25f, false, cap), got) << "two threads";
    EXPECT_EQ(run(one, logits, targets, 0.25f, true, cap), got) << "in place";
  }
}

TEST_P(CrossEntropy, ZLossAndLabelSmoothingMatchDoublePrecision) {
  Context one(test::test_device()), two(test::test_device(), 2);
  for (const int64_t v : {1, 37, 1031}) {
    const int64_t rows = 12;
    const Tensor logits = random_tensor(one, {rows, v}, GetParam(), 7, 4.0f);
    const std::vector<int32_t> targets = drawn_targets(rows, v, 3);
    for (const ops::CrossEntropyOptions& options : kAdded) {
      SCOPED_TRACE(fmt::format("{} columns, z {}, smoothing {}, cap {}", v, options.z_loss,
                               options.label_smoothing, options.soft_cap));
      const Tensor again = random_tensor(one, {rows, v}, GetParam(), 7, 4.0f);
      const Result got = run(one, logits, targets, options);
      expect_definition(logits, targets, options, got);
      EXPECT_EQ(run(two, logits, targets, options), got) << "two threads";
      EXPECT_EQ(run(one, again, targets, options, true), got) << "in place";
    }
  }
}

// Cuts the columns, runs both halves on each part, and puts the gradients side by side.
Result run_in_parts(Context& ctx, const Tensor& logits, const std::vector<int32_t>& targets,
                    const ops::CrossEntropyOptions& options, const std::vector<int64_t>& cuts,
                    const std::vector<float>& weights = {}) {
  const int64_t rows = logits.dim(0), v = logits.dim(1), num_parts = static_cast<int64_t>(cuts.size()) - 1;
  const Tensor statistics = Tensor::empty(ctx, {num_parts, rows, 4}, DType::f32);
  std::vector<Tensor> parts;
  const auto columns = [&](int64_t p) { return cuts[p + 1] - cuts[p]; };
  for (int64_t p = 0; p < num_parts; ++p) {
    parts.push_back(Tensor::empty(ctx, {rows, columns(p)}, logits.dtype()));
    ops::copy_columns(ctx, {logits, cuts[p], columns(p)}, {parts.back(), 0, columns(p)});
    ops::cross_entropy_statistics(ctx, parts.back(), make_targets(ctx, targets), {cuts[p], v}, options,
                                  statistics.slice(p, p + 1).view({rows, 4}));
  }
  const Tensor loss = Tensor::empty(ctx, {rows}, DType::f32), added = Tensor::empty(ctx, {rows}, DType::f32);
  const Tensor gradient = Tensor::empty(ctx, logits.shape(), logits.dtype());
  Result first;
  for (int64_t p = 0; p < num_parts; ++p) {
    ops::cross_entropy_of_part(ctx, parts[p], make_targets(ctx, targets), {cuts[p], v}, options, statistics,
                               loss, parts[p], added, make_weights(ctx, weights));
    ops::copy_columns(ctx, {parts[p], 0, columns(p)}, {gradient, cuts[p], columns(p)});
    const Result here{to_vector(loss), {}, to_vector(added)};
    if (p == 0) first = here;
    const auto expect_bits = [&](const std::vector<float>& a, const std::vector<float>& b) {
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << "part " << p;
    };
    expect_bits(here.loss, first.loss);
    expect_bits(here.added, first.added);
  }
  first.gradient = to_vector(gradient);
  return first;
}

Result run_in_parts(Context& ctx, const Tensor& logits, const std::vector<int32_t>& targets, float scale,
                    const std::vector<int64_t>& cuts, float cap = 0) {
  return run_in_parts(ctx, logits, targets, {.gradient_scale = scale, .soft_cap = cap}, cuts);
}

TEST_P(CrossEntropy, PartsOfTheVocabularyGiveTheSame) {
  Context one(test::test_device()), two(test::test_device(), 2);
  for (const auto& [v, cuts] : {std::pair<int64_t, std::vector<int64_t>>{1, {0, 1}},
                                {5, {0, 1, 2, 5}},
                                {37, {0, 9, 18, 27, 37}},
                                {2100, {0, 1023, 2100}}}) {
    SCOPED_TRACE(v);
    const int64_t rows = 40;
    const Tensor logits = random_tensor(one, {rows, v}, GetParam(), 7, 4.0f);
    const std::vector<int32_t> targets = drawn_targets(rows, v, 5);
    const Result got = run_in_parts(one, logits, targets, 0.25f, cuts);
    expect_definition(logits, targets, 0.25f, got);
    EXPECT_EQ(run_in_parts(two, logits, targets, 0.25f, cuts), got) << "two threads";
    expect_definition(logits, targets, 0.25f, run_in_parts(one, logits, targets, 0.25f, cuts, 5), 5);
    if (v > 100) continue;  // the same, and long on the host
    for (const ops::CrossEntropyOptions& options : kAdded)
      expect_definition(logits, targets, options, run_in_parts(one, logits, targets, options, cuts));
  }
}

TEST_P(CrossEntropy, RowsMayLieFurtherApartThanTheyAreLong) {
  Context ctx(test::test_device());
  for (const int64_t v : {1, 5, 33, 1031}) {
    SCOPED_TRACE(v);
    const int64_t rows = 7;
    const Tensor logits = random_tensor(ctx, {rows, v}, GetParam(), 7, 4.0f);
    std::vector<int32_t> targets;
    for (int64_t r = 0; r < rows; ++r)
      targets.push_back(r % 3 == 2 ? ops::kIgnoredTarget : static_cast<int32_t>((r * 7919) % v));
    const Result expected = run(ctx, logits, targets, 0.25f);
    const Tensor loss = Tensor::empty(ctx, {rows}, DType::f32);
    const Tensor indices = make_targets(ctx, targets);
    const auto expect_result = [&](const ops::Columns& gradient) {
      EXPECT_EQ((Result{to_vector(loss), to_vector(gradient), expected.added}), expected);
    };
    const ops::Columns in_place = widened(ctx, logits, 0, 9), apart = widened(ctx, logits, 8, 0);
    ops::cross_entropy(ctx, in_place, indices, {.gradient_scale = 0.25f}, loss, apart);
    expect_result(apart);
    ops::cross_entropy(ctx, in_place, indices, {.gradient_scale = 0.25f}, loss, in_place);
    expect_result(in_place);

    const ops::Columns of_part = widened(ctx, logits, 0, 9),
                       dense = Tensor::empty(ctx, {rows, v}, GetParam());
    const Tensor statistics = Tensor::empty(ctx, {1, rows, 4}, DType::f32);
    ops::cross_entropy_statistics(ctx, of_part, indices, {0, v}, {}, statistics.view({rows, 4}));
    const Result in_one_part = run_in_parts(ctx, logits, targets, 0.25f, {0, v});
    for (const ops::Columns& gradient : {dense, of_part}) {
      ops::cross_entropy_of_part(ctx, of_part, indices, {0, v}, {.gradient_scale = 0.25f}, statistics, loss,
                                 gradient);
      EXPECT_EQ((Result{to_vector(loss), to_vector(gradient), in_one_part.added}), in_one_part);
    }
  }
}

TEST_P(CrossEntropy, RowsHaveWeights) {
  Context ctx(test::test_device());
  const int64_t rows = 12, v = 37;
  const Tensor logits = random_tensor(ctx, {rows, v}, GetParam(), 7, 4.0f);
  const std::vector<int32_t> targets = drawn_targets(rows, v, 5);
  const std::vector<float> weights = {1, 0, 0.25f, 3, 0.7f, 1, 0, 0, 1e-3f, 2, 1.5f, 0.1f};
  for (ops::CrossEntropyOptions options : kAdded) {
    SCOPED_TRACE(fmt::format("z {}, smoothing {}", options.z_loss, options.label_smoothing));
    const Result got = run(ctx, logits, targets, options, false, weights),
                 parts = run_in_parts(ctx, logits, targets, options, {0, 9, 18, 37}, weights);
    expect_definition(logits, targets, options, got, weights);
    expect_definition(logits, targets, options, parts, weights);
    const std::vector<float> ones(rows, 1.0f);
    EXPECT_EQ(run(ctx, logits, targets, options, false, ones), run(ctx, logits, targets, options));
    EXPECT_EQ(run_in_parts(ctx, logits, targets, options, {0, 9, 37}, ones),
              run_in_parts(ctx, logits, targets, options, {0, 9, 37}));
  }
}

INSTANTIATE_TEST_SUITE_P(, CrossEntropy, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& types) { return std::string(to_string(types.param)); });

TEST(CrossEntropyEdges, ALargeVocabularyLosesNoDigits) {
  Context ctx(test::test_device());
  const Tensor logits = make_tensor(ctx, {1, 131072}, DType::f32, std::vector<float>(131072, 0.0f));
  EXPECT_FLOAT_EQ(run(ctx, logits, {5}, 1.0f).loss[0], std::log(131072.0f));
}

TEST(CrossEntropyEdges, ExtremeLogits) {
  Context ctx(test::test_device());
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor logits = make_tensor(ctx, {2, 3}, DType::f32, {1e30f, -1e30f, 0.0f, -inf, 3.0f, 3.0f});
  const Result got = run(ctx, logits, {0, 1}, 1.0f);
  EXPECT_EQ(got.loss[0], 0.0f);
  EXPECT_FLOAT_EQ(got.loss[1], std::log(2.0f));
  EXPECT_NEAR(got.gradient[1], 0.0f, 1e-37f);
  EXPECT_NEAR(got.gradient[3], 0.0f, 1e-37f);
  EXPECT_FLOAT_EQ(got.gradient[4], -0.5f);
}

TEST(CrossEntropyEdges, ExtremeLogitsInParts) {
  Context ctx(test::test_device());
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor logits =
      make_tensor(ctx, {2, 4}, DType::f32, {1e30f, -1e30f, 0.0f, 0.0f, -inf, -inf, 3.0f, 3.0f});
  const Result got = run_in_parts(ctx, logits, {0, 2}, 1.0f, {0, 2, 4});
  EXPECT_EQ(got.loss[0], 0.0f);
  EXPECT_FLOAT_EQ(got.loss[1], std::log(2.0f));
  EXPECT_NEAR(got.gradient[4], 0.0f, 1e-37f);
  EXPECT_FLOAT_EQ(got.gradient[6], -0.5f);
  for (const size_t at : {0, 3}) {
    std::vector<float> values(4, 1.0f);
    values[at] = std::nanf("");
    EXPECT_TRUE(std::isnan(
        run_in_parts(ctx, make_tensor(ctx, {1, 4}, DType::f32, values), {1}, 1.0f, {0, 2, 4}).loss[0]));
  }
}

TEST(CrossEntropyEdges, ALogitThatIsNoNumberReachesTheLoss) {
  Context ctx(test::test_device());
  for (const int64_t at : {0, 40, 69}) {
    std::vector<float> values(70, 1.0f);
    values[at] = std::nanf("");
    EXPECT_TRUE(std::isnan(run(ctx, make_tensor(ctx, {1, 70}, DType::f32, values), {3}, 1.0f).loss[0])) << at;
  }
}

TEST(CrossEntropyEdges, TheLossComesWithoutAGradientToo) {
  Context ctx(test::test_device());
  const Tensor logits = random_tensor(ctx, {4, 9}, DType::f32, 1), loss = Tensor::empty(ctx, {4}, DType::f32);
  ops::cross_entropy(ctx, logits, make_targets(ctx, {0, 8, -1, 4}), {}, loss, {});
  EXPECT_EQ(to_vector(loss), run(ctx, logits, {0, 8, -1, 4}, 1.0f).loss);
}

TEST(CrossEntropyEdges, WithoutAWeightALogitThatIsNoNumberCountsForNothing) {
  Context ctx(test::test_device());
  const Tensor logits = make_tensor(ctx, {2, 4}, DType::f32, {std::nanf(""), INFINITY, 1, 1, 0, 0, 0, 0});
  for (const Result& got : {run(ctx, logits, {1, 2}, {}, false, {0, 2}),
                            run_in_parts(ctx, logits, {1, 2}, {}, {0, 1, 4}, {0, 2})}) {
    EXPECT_EQ(got.loss[0], 0);
    EXPECT_FLOAT_EQ(got.loss[1], 2 * std::log(4.0f));
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(got.gradient[i], 0) << i;
    EXPECT_FLOAT_EQ(got.gradient[4], 0.5f);
    EXPECT_FLOAT_EQ(got.gradient[6], -1.5f);
  }
}

TEST(CrossEntropyEdges, RefusesWeightsOfOtherRows) {
  Context ctx(test::test_device());
  const Tensor logits = random_tensor(ctx, {2, 9}, DType::f32, 1);
  EXPECT_THROW(run(ctx, logits, {0, 1}, {}, false, {1, 1, 1}), InternalError);
  EXPECT_THROW(run_in_parts(ctx, logits, {0, 1}, ops::CrossEntropyOptions{}, {0, 4, 9}, {1}), InternalError);
}

TEST(CrossEntropyEdges, RefusesATargetOutsideTheVocabulary) {
  Context ctx(test::test_device());
  const Tensor logits = random_tensor(ctx, {2, 9}, DType::f32, 1);
  EXPECT_THROW(run(ctx, logits, {0, 9}, 1.0f), InternalError);
  EXPECT_THROW(run(ctx, logits, {-2, 0}, 1.0f), InternalError);
  EXPECT_THROW(run_in_parts(ctx, logits, {0, 9}, 1.0f, {0, 4, 9}), InternalError);
  EXPECT_THROW(ops::cross_entropy(ctx, {logits, 0, 8}, make_targets(ctx, {0, 0}), {},
                                  Tensor::empty(ctx, {2}, DType::f32), logits),
               InternalError);
  EXPECT_THROW(ops::cross_entropy_statistics(ctx, logits, make_targets(ctx, {0, 0}), {1, 9}, {},
                                             Tensor::empty(ctx, {2, 4}, DType::f32)),
               InternalError);
}

}  // namespace
}  // namespace trireme
