// Pruning against its definitions, written out with sorts and inverses.
#include "models/compress/prune_matrix.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "tests/models/compress/matrices.h"
#include "tests/models/compress/pruning_by_definition.h"
#include "tests/support/expect_error.h"
#include "tests/support/layout_run.h"

namespace trireme {
namespace {

using test::by_importance;
using test::correlated_inputs;
using test::drawn_weights;
using test::error_of;
using test::expect_error;
using test::SparseGpt;
using test::statistics_of;
using testing::HasSubstr;
using enum PruneMethod;

constexpr int64_t kOutputs = 53, kInputs = 83;

InputStatistics some_statistics(int64_t inputs = kInputs, bool has_dead = true) {
  auto x = correlated_inputs(3 * inputs, inputs, 6);
  for (size_t t = 3; has_dead && t < x.size(); t += static_cast<size_t>(inputs)) x[t] = 0;
  return statistics_of(x, inputs);
}

std::vector<float> some_weights(int64_t outputs = kOutputs, int64_t inputs = kInputs) {
  auto w = drawn_weights(outputs * inputs, 5);
  for (size_t i = 0; i < w.size(); i += 29) w[i] = i % 2 == 0 ? 0.0f : -0.0f;
  for (size_t i = 1; i + 7 < w.size(); i += 23) w[i] = -w[i + 7];  // equal magnitudes
  return w;
}

PrunedMatrix prune(const std::vector<float>& w, const InputStatistics& s, const PruneOptions& options,
                   int threads = 2) {
  Context ctx({}, threads);
  return prune_matrix(ctx, w, std::ssize(w) / s.inputs, s.inputs, s, options);
}

int64_t num_zeros(std::span<const float> values) { return std::ranges::count(values, 0.0f); }

void expect_report(const PrunedMatrix& pruned, const std::vector<float>& w, const InputStatistics& s) {
  EXPECT_EQ(pruned.report.note, "");
  EXPECT_EQ(pruned.report.dead, 1);
  EXPECT_NEAR(pruned.report.error,
              error_of(w, pruned.values, s) / error_of(w, std::vector<float>(w.size()), s),
              1e-9 * pruned.report.error);
  for (const float value : pruned.values) EXPECT_FALSE(value == 0 && std::signbit(value));
}

TEST(PruneMatrix, TakesTheLeastImportant) {
  const auto w = some_weights();
  const InputStatistics s = some_statistics();
  for (PruneOptions options :
       {PruneOptions{magnitude}, PruneOptions{wanda, 0.37},
        PruneOptions{.method = magnitude, .sparsity = 0.7, .scope = PruneScope::output},
        PruneOptions{.method = wanda, .sparsity = 0.61, .scope = PruneScope::matrix},
        PruneOptions{.method = wanda, .zeros = 2, .of = 4},
        PruneOptions{.method = magnitude, .zeros = 4, .of = 8},
        PruneOptions{.method = wanda, .zeros = 5, .of = 7}}) {
    SCOPED_TRACE(describe_pruning(options));
    const PrunedMatrix pruned = prune(w, s, options);
    EXPECT_EQ(pruned.values, by_importance(w, s, options));
    expect_report(pruned, w, s);
  }
}

TEST(PruneMatrix, SparseGptIsItsDefinition) {
  for (const int64_t inputs : {kInputs, int64_t{5}, int64_t{260}}) {
    const auto w = some_weights(kOutputs, inputs);
    const InputStatistics s = some_statistics(inputs);
    for (PruneOptions options :
         {PruneOptions{sparsegpt}, PruneOptions{.method = sparsegpt, .sparsity = 0.7, .block = 32},
          PruneOptions{.method = sparsegpt, .sparsity = 0.31, .damping = 0.1, .block = 21},
          PruneOptions{.method = sparsegpt, .zeros = 2, .of = 4},
          PruneOptions{.method = sparsegpt, .zeros = 3, .of = 5, .block = 23},
          PruneOptions{.method = sparsegpt, .zeros = 1, .of = 8, .block = 1}}) {
      if (inputs == 260 && options.block != 128) continue;
      SCOPED_TRACE(fmt::format("{} inputs, {}", inputs, describe_pruning(options)));
      const PrunedMatrix pruned = prune(w, s, options);
      const std::vector<float> expected = SparseGpt(w, s, options).run();
      double largest = 0;
      for (const float x : expected) largest = std::max(largest, std::abs(static_cast<double>(x)));
      for (size_t i = 0; i < w.size(); ++i) {
        ASSERT_EQ(pruned.values[i] == 0, expected[i] == 0) << i;
        ASSERT_NEAR(pruned.values[i], expected[i], 1e-6 * largest) << i;
      }
      expect_report(pruned, w, s);
      EXPECT_EQ(pruned.report.damping, options.damping);
    }
  }
}

TEST(PruneMatrix, SparseGptLosesLessThanWandaAndThisLessThanMagnitude) {
  const auto w = drawn_weights(kOutputs * kInputs, 8);
  const InputStatistics s = some_statistics(kInputs, false);
  double last = 0;
  for (const PruneMethod method : {sparsegpt, wanda, magnitude}) {
    const double free = prune(w, s, {method}).report.error,
                 pattern = prune(w, s, {.method = method, .zeros = 2, .of = 4}).report.error;
    EXPECT_GT(free, 1.2 * last);
    if (method != sparsegpt) {
      EXPECT_GT(pattern, free);
    }
    last = free;
  }
}

TEST(PruneMatrix, NoneAndAll) {
  const auto w = some_weights();
  const InputStatistics s = some_statistics();
  for (const PruneMethod method : {magnitude, wanda, sparsegpt}) {
    SCOPED_TRACE(static_cast<int>(method));
    std::vector<float> kept = w;
    for (size_t i = 3; method == sparsegpt && i < kept.size(); i += kInputs) kept[i] = 0;  // a dead input
    EXPECT_EQ(prune(w, s, {method, 0}).values, kept);
    EXPECT_EQ(num_zeros(prune(w, s, {method, 1}).values), std::ssize(w));
    EXPECT_EQ(num_zeros(prune(w, s, {.method = method, .zeros = 4, .of = 4}).values),
              kOutputs * 80 + num_zeros([&] {
                std::vector<float> rest;  // three inputs of each output make no group
                for (size_t i = 0; i < w.size(); ++i)
                  if (i % kInputs >= 80) rest.push_back(w[i]);
                return rest;
              }()));
  }
}

TEST(PruneMatrix, EqualWeightsGoFromTheFirstOn) {
  std::vector<float> w(24, 0.5f);
  for (size_t i = 1; i < w.size(); i += 2) w[i] = -0.5f;
  w[11] = 0;
  const InputStatistics s = statistics_of(std::vector<float>(8, 1.0f), 8);
  std::vector<float> expected = w;
  std::fill_n(expected.begin(), 6, 0.0f);  // 7 of 24, one of which is there
  EXPECT_EQ(prune(w, s, {magnitude, 0.3}).values, expected);
  expected = w;
  expected[0] = expected[1] = expected[8] = expected[16] = expected[17] = 0;
  EXPECT_EQ(prune(w, s, {wanda, 0.25}).values, expected);
}

TEST(PruneMatrix, ManyZerosStayMany) {
  auto w = drawn_weights(kOutputs * kInputs, 9);
  for (size_t i = 0; i < w.size(); ++i)
    if (i % 3 != 0) w[i] = 0;
  const InputStatistics s = some_statistics();
  for (const PruneMethod method : {magnitude, wanda})
    EXPECT_EQ(prune(w, s, {method, 0.5}).values, w) << static_cast<int>(method);
  const auto values = prune(w, s, {sparsegpt, 0.5}).values;
  for (size_t i = 0; i < w.size(); ++i) EXPECT_EQ(values[i] == 0, w[i] == 0 || i % kInputs == 3) << i;
}

TEST(PruneMatrix, NeverFailsOnAHessian) {
  const auto w = drawn_weights(kOutputs * kInputs, 3);
  InputStatistics none;
  none.inputs = kInputs;
  InputStatistics infinite = some_statistics(), negative = some_statistics(), zero = some_statistics(),
                  thin = statistics_of(correlated_inputs(2, kInputs, 4), kInputs);
  infinite.hessian[5 * kInputs + 2] = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < negative.hessian.size(); ++i)
    negative.hessian[i] *= i % (kInputs + 1) == 0 ? 1 : -1e9;
  std::ranges::fill(zero.hessian, 0.0);
  struct Case {
    const InputStatistics* statistics;
    const char* words;
  };
  const auto by_magnitude = prune(w, none, {magnitude}).values;
  for (const Case& c :
       {Case{&none, "no calibration token"}, Case{&infinite, "inf at [5, 2]"},
        Case{&zero, "all its inputs were zero"}, Case{&negative, "factors with no damping"}}) {
    SCOPED_TRACE(c.words);
    const PrunedMatrix pruned = prune(w, *c.statistics, {sparsegpt});
    EXPECT_THAT(pruned.report.note, HasSubstr(c.words));
    EXPECT_THAT(pruned.report.note, HasSubstr("by magnitude"));
    EXPECT_EQ(pruned.values, by_magnitude);
    EXPECT_TRUE(std::isfinite(pruned.report.error));
    EXPECT_EQ(prune(w, *c.statistics, {magnitude}).report.note, "");
    if (c.statistics == &negative) continue;
    const PrunedMatrix of_wanda = prune(w, *c.statistics, {wanda});
    EXPECT_THAT(of_wanda.report.note, HasSubstr(c.words));
    EXPECT_EQ(of_wanda.values, prune(w, none, {.method = magnitude, .scope = PruneScope::output}).values);
  }
  const PrunedMatrix grown = prune(w, thin, {.method = sparsegpt, .damping = 0});
  EXPECT_THAT(grown.report.note, HasSubstr("factors with a damping of 1e-06, not of 0"));
  EXPECT_EQ(num_zeros(grown.values), kOutputs * kInputs / 2);
}

TEST(PruneMatrix, BitsDoNotDependOnThreadsOrRanks) {
  auto w = some_weights(101, kInputs);
  for (float& x : w) x = std::round(x * 100) / 100;  // many are equal
  const InputStatistics s = some_statistics();
  for (PruneOptions options : {PruneOptions{magnitude}, PruneOptions{wanda},
                               PruneOptions{.method = wanda, .sparsity = 0.61, .scope = PruneScope::matrix},
                               PruneOptions{.method = sparsegpt, .block = 24},
                               PruneOptions{.method = sparsegpt, .zeros = 2, .of = 4, .block = 24}}) {
    SCOPED_TRACE(describe_pruning(options));
    const PrunedMatrix one = prune(w, s, options, 1);
    const PrunedMatrix three = prune(w, s, options, 3);
    EXPECT_EQ(one.values, three.values);
    EXPECT_EQ(one.report.error, three.report.error);
    // Of rows 0 to 49, none, and the rest.
    const int64_t begins[] = {0, 50, 50, 101};
    std::vector<float> together(w.size());
    run_thread_ranks(3, [&](Communicator& world) {
      Context ctx({}, 1);
      const ops::RowRanks ranks{world.rank(), 3, [&](std::span<int64_t> counts) {
                                  world.all_reduce(
                                      ctx.host_stream(),
                                      Tensor::borrow(counts.data(), {std::ssize(counts)}, DType::i64));
                                }};
      const int64_t begin = begins[world.rank()], rows = begins[world.rank() + 1] - begin;
      const std::span<const float> own(w.data() + begin * kInputs, static_cast<size_t>(rows * kInputs));
      const PrunedMatrix part = prune_matrix(ctx, own, rows, kInputs, s, options, ranks);
      std::ranges::copy(part.values, together.begin() + begin * kInputs);
    });
    EXPECT_EQ(together, one.values);
  }
}

TEST(PruneMatrix, RefusesWhatMakesNoSense) {
  auto w = drawn_weights(kOutputs * kInputs, 3);
  const InputStatistics s = some_statistics();
  const auto refuses = [&](const PruneOptions& options, std::initializer_list<std::string_view> words) {
    expect_error(ExitCode::usage, words, [&] { prune(w, s, options); });
  };
  refuses({magnitude, 1.1}, {"sparsity of 1.1", "0 to 1"});
  refuses({magnitude, std::numeric_limits<double>::quiet_NaN()}, {"sparsity of nan"});
  refuses({.zeros = 5, .of = 4}, {"5 zeros of every 4"});
  refuses({.zeros = 0, .of = 4}, {"0 zeros of every 4"});
  refuses({.zeros = 1, .of = 129}, {"every 129", "128"});
  refuses({.zeros = 2}, {"2 zeros"});
  refuses({.method = sparsegpt, .scope = PruneScope::output}, {"scope", "sparsegpt"});
  refuses({.zeros = 2, .of = 4, .scope = PruneScope::matrix}, {"scope", "patterns"});
  refuses({.method = sparsegpt, .damping = -1}, {"damping of -1"});
  refuses({.method = sparsegpt, .block = 0}, {"blocks of 0"});
  w[2 * kInputs + 7] = std::numeric_limits<float>::infinity();
  for (const PruneMethod method : {magnitude, wanda, sparsegpt})
    expect_error(ExitCode::bad_input, {"[2, 7]", "inf"}, [&] { prune(w, s, {method}); });
}

}  // namespace
}  // namespace trireme
