#include "runtime/ops/routing.h"

#include <array>
#include <numeric>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

struct Routed {
  Tensor probabilities, log_sum, chosen, gates;
};

Routed route(Context& ctx, const ops::RouteOptions& options, const Tensor& logits, int64_t k,
             const Tensor& bias = {}) {
  const int64_t rows = logits.dim(0), num_experts = logits.dim(1);
  const Routed r{Tensor::empty(ctx, {rows, num_experts}, DType::f32), Tensor::empty(ctx, {rows}, DType::f32),
                 Tensor::empty(ctx, {rows, k}, DType::i32), Tensor::empty(ctx, {rows, k}, DType::f32)};
  ops::route(ctx, options, logits, bias, r.probabilities, r.log_sum, r.chosen, r.gates);
  return r;
}

std::vector<int32_t> choices(const Routed& r) { return read<int32_t>(r.chosen); }

Tensor matrix(Context& ctx, int64_t rows, const std::vector<float>& values) {
  return make_tensor(ctx, {rows, static_cast<int64_t>(values.size()) / rows}, DType::f32, values);
}

TEST(Route, SoftmaxWithAndWithoutNormalisation) {
  Context ctx(test_device());
  const Tensor logits = matrix(ctx, 1, {std::log(1.0f), std::log(4.0f), std::log(2.0f), std::log(3.0f)});
  const Routed plain = route(ctx, {.normalize = false}, logits, 2);
  EXPECT_EQ(choices(plain), (std::vector<int32_t>{1, 3}));
  expect_close(to_vector(plain.probabilities), {0.1, 0.4, 0.2, 0.3}, 1e-6);
  expect_close(to_vector(plain.gates), {0.4, 0.3}, 1e-6);
  expect_close(to_vector(plain.log_sum), {std::log(10.0)}, 1e-6);
  const Routed scaled = route(ctx, {.gate_scale = 3.5f}, logits, 2);
  expect_close(to_vector(scaled.gates), {2.0, 1.5}, 1e-6);
}

TEST(Route, SigmoidScoresAreDividedByTheirSumForProbabilities) {
  Context ctx(test_device());
  const Tensor logits = matrix(ctx, 1, {0.0f, std::log(3.0f), -std::log(3.0f)});  // 1/2, 3/4, 1/4
  const Routed r = route(ctx, {.sigmoid = true, .normalize = false}, logits, 2);
  expect_close(to_vector(r.probabilities), {1.0 / 3, 0.5, 1.0 / 6}, 1e-6);
  expect_close(to_vector(r.gates), {0.75, 0.5}, 1e-6);
}

TEST(Route, EqualScoresGoToTheLowerIndexAndHugeLogitsStayFinite) {
  Context ctx(test_device());
  const Routed equal = route(ctx, {}, matrix(ctx, 1, {1, 2, 2, 1, 2}), 4);
  EXPECT_EQ(choices(equal), (std::vector<int32_t>{1, 2, 4, 0}));
  for (const bool sigmoid : {false, true}) {
    const Routed huge = route(ctx, {.sigmoid = sigmoid}, matrix(ctx, 2, {3e38f, -3e38f, -3e38f, -3e38f}), 2);
    for (const float gate : to_vector(huge.gates)) EXPECT_TRUE(std::isfinite(gate));
  }
}

TEST(Route, BiasesMoveTheChoiceButNotTheGates) {
  Context ctx(test_device());
  const Tensor logits = matrix(ctx, 1, {std::log(1.0f), std::log(2.0f), std::log(1.0f)});
  const Tensor bias = make_tensor(ctx, {3}, DType::f32, {0.5f, 0.0f, -1.0f});
  const Routed r = route(ctx, {.normalize = false}, logits, 2, bias);
  EXPECT_EQ(choices(r), (std::vector<int32_t>{0, 1}));
  expect_close(to_vector(r.gates), {0.25, 0.5}, 1e-6);
}

TEST(Route, GroupsAreChosenByTheirTwoBest) {
  Context ctx(test_device());
  // Group 0 has the best expert, group 1 the better pair, group 2 the best but one.
  const Tensor logits = matrix(ctx, 1, {5, -9, -9, 4, 4, -9, 4.5f, 1, -9});
  EXPECT_EQ(choices(route(ctx, {.sigmoid = true, .num_groups = 3, .groups_per_token = 1}, logits, 2)),
            (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(choices(route(ctx, {.sigmoid = true, .num_groups = 3, .groups_per_token = 2}, logits, 3)),
            (std::vector<int32_t>{6, 3, 4}));
}

// The experts in the order of their scores within the best groups, with plain sorting.
std::vector<int32_t> sorted_choices(const ops::RouteOptions& o, std::vector<double> scores, int64_t k) {
  const size_t width = scores.size() / static_cast<size_t>(o.num_groups);
  std::vector<std::pair<double, size_t>> groups;
  for (size_t g = 0; g < static_cast<size_t>(o.num_groups); ++g) {
    std::vector<double> group(scores.begin() + static_cast<std::ptrdiff_t>(g * width),
                              scores.begin() + static_cast<std::ptrdiff_t>((g + 1) * width));
    std::ranges::sort(group, std::greater<>());
    groups.emplace_back(-(group[0] + (width > 1 ? group[1] : 0)), g);
  }
  std::ranges::sort(groups);
  std::vector<std::pair<double, int32_t>> order;
  for (size_t i = 0; i < static_cast<size_t>(o.groups_per_token); ++i) {
    for (size_t e = groups[i].second * width; e < (groups[i].second + 1) * width; ++e)
      order.emplace_back(-scores[e], static_cast<int32_t>(e));
  }
  std::ranges::sort(order);
  std::vector<int32_t> chosen;
  for (size_t j = 0; j < static_cast<size_t>(k); ++j) chosen.push_back(order[j].second);
  return chosen;
}

TEST(Route, ManyExpertsAndGroupsAreChosenAsBySorting) {
  Context ctx(test_device());
  constexpr int64_t kRows = 37;
  for (const auto& [num_experts, k, groups, per_token] : {std::array{1, 1, 1, 1},
                                                          {3, 3, 1, 1},
                                                          {66, 7, 1, 1},
                                                          {96, 9, 12, 5},
                                                          {40, 8, 40, 33},
                                                          {256, 40, 8, 4}}) {
    const ops::RouteOptions options{
        .sigmoid = true, .num_groups = groups, .groups_per_token = per_token, .normalize = false};
    const Tensor logits = random_tensor(ctx, {kRows, num_experts}, DType::f32, 5);
    const Tensor bias = random_tensor(ctx, {num_experts}, DType::f32, 6, 0.3f);
    const Routed r = route(ctx, options, logits, k, bias);
    const auto x = to_vector(logits), b = to_vector(bias), gates = to_vector(r.gates);
    const auto chosen = choices(r);
    const auto n = static_cast<size_t>(num_experts);
    for (size_t row = 0; row < kRows; ++row) {
      std::vector<double> scores(n);
      for (size_t e = 0; e < n; ++e) {
        scores[e] = 1 / (1 + std::exp(-static_cast<double>(x[row * n + e]))) + static_cast<double>(b[e]);
      }
      const auto expected = sorted_choices(options, scores, k);
      for (size_t j = 0; j < expected.size(); ++j) {
        const auto e = static_cast<size_t>(expected[j]);
        ASSERT_EQ(chosen[row * expected.size() + j], expected[j]) << num_experts << " row " << row;
        ASSERT_NEAR(gates[row * expected.size() + j], scores[e] - static_cast<double>(b[e]), 1e-6);
      }
    }
  }
}

// The scalar sum(gates * a) + sum(p * b of its run) + sum(c of its run * log_sum^2), in double.
double scalar(const ops::RouteOptions& o, const std::vector<float>& logits, int64_t num_experts,
              const std::vector<int32_t>& chosen, const std::vector<float>& a, const std::vector<float>& b,
              const std::vector<float>& c) {
  const size_t n = static_cast<size_t>(num_experts), rows = logits.size() / n, k = chosen.size() / rows;
  double total = 0;
  for (size_t r = 0; r < rows; ++r) {
    std::vector<double> s(n);
    double exponentials = 0, scores = 0, of_chosen = 0;
    for (size_t e = 0; e < n; ++e) exponentials += std::exp(static_cast<double>(logits[r * n + e]));
    for (size_t e = 0; e < n; ++e) {
      const double x = logits[r * n + e];
      s[e] = o.sigmoid ? 1 / (1 + std::exp(-x)) : std::exp(x) / exponentials;
      scores += s[e];
    }
    for (size_t j = 0; j < k; ++j) of_chosen += s[static_cast<size_t>(chosen[r * k + j])];
    for (size_t j = 0; j < k; ++j) {
      total += a[r * k + j] * static_cast<double>(o.gate_scale) * s[static_cast<size_t>(chosen[r * k + j])] /
               (o.normalize ? of_chosen : 1);
    }
    const size_t run = r / (rows / c.size());
    for (size_t e = 0; e < n; ++e) total += b[run * n + e] * s[e] / scores;
    total += c[run] * std::pow(std::log(exponentials), 2);
  }
  return total;
}

TEST(Route, GradientIsThatOfGatesAndBalanceTerms) {
  Context ctx(test_device()), threads(test_device(), 3);
  for (const bool sigmoid : {false, true}) {
    for (const bool normalize : {false, true}) {
      const ops::RouteOptions options{.sigmoid = sigmoid, .normalize = normalize, .gate_scale = 1.5f};
      const Tensor logits = random_tensor(ctx, {6, 5}, DType::f32, 1);
      const Routed r = route(ctx, options, logits, 3);
      const Tensor a = random_tensor(ctx, {6, 3}, DType::f32, 2),
                   b = random_tensor(ctx, {2, 5}, DType::f32, 3), c = random_tensor(ctx, {2}, DType::f32, 4);
      const Tensor dlogits = Tensor::empty(ctx, {6, 5}, DType::f32), other = clone(ctx, dlogits);
      ops::route_backward(ctx, options, logits, r.log_sum, r.chosen, a, b, c, dlogits);
      ops::route_backward(threads, options, logits, r.log_sum, r.chosen, a, b, c, other);
      EXPECT_TRUE(same_bits(dlogits, other));
      std::vector<double> numeric;
      for (size_t i = 0; i < 30; ++i) {
        auto high = to_vector(logits), low = high;
        constexpr float kStep = 1e-3f;
        high[i] += kStep;
        low[i] -= kStep;
        const auto at = [&](const std::vector<float>& x) {
          return scalar(options, x, 5, choices(r), to_vector(a), to_vector(b), to_vector(c));
        };
        numeric.push_back((at(high) - at(low)) /
                          (static_cast<double>(high[i]) - static_cast<double>(low[i])));
      }
      expect_close(to_vector(dlogits), numeric, 1e-5);
    }
  }
}

TEST(AssignSlots, TokensQueueInTheirOrderAndTheLastAreDropped) {
  Context ctx(test_device());
  const Tensor chosen = Tensor::empty(ctx, {4, 2}, DType::i32);
  write<int32_t>(chosen, {0, 2, 2, 1, 2, 0, 0, 2});
  const Tensor counts = Tensor::empty(ctx, {2, 3}, DType::i64),
               ahead = Tensor::empty(ctx, {2, 3}, DType::i64), base = Tensor::empty(ctx, {2, 3}, DType::i64),
               slots = Tensor::empty(ctx, {4, 2}, DType::i32);
  ops::count_choices(ctx, chosen, counts);
  EXPECT_EQ(read<int64_t>(counts), (std::vector<int64_t>{1, 1, 2, 2, 0, 2}));
  write<int64_t>(ahead, {0, 0, 0, 1, 0, 2});
  write<int64_t>(base, {10, 20, 30, 11, 21, 32});
  ops::assign_slots(ctx, chosen, base, ahead, 3, slots);
  EXPECT_EQ(read<int32_t>(slots), (std::vector<int32_t>{10, 30, 31, 20, 32, 11, 12, -1}));
}

TEST(AssignSlots, LongRunsQueueAsTheyAreCounted) {
  Context ctx(test_device());
  for (const auto& [runs, rows_a_run, k, num_experts] :
       {std::array{1, 1, 1, 1}, {2, 0, 2, 3}, {3, 700, 3, 70}, {1, 3000, 1, 5}}) {
    const auto e = static_cast<size_t>(num_experts);
    std::vector<int32_t> chosen;
    uint32_t state = 1;
    for (int i = 0; i < runs * rows_a_run * k; ++i) {
      state = state * 1664525u + 1013904223u;
      chosen.push_back(static_cast<int32_t>((state >> 16) * (state >> 24) % e));
    }
    std::vector<int64_t> counts(static_cast<size_t>(runs) * e), base, ahead;
    for (size_t q = 0; q < counts.size(); ++q) {
      base.push_back(static_cast<int64_t>(1000 * q));
      ahead.push_back(static_cast<int64_t>(q % 5));
    }
    std::vector<int32_t> expected;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const size_t q = i / static_cast<size_t>(rows_a_run * k) * e + static_cast<size_t>(chosen[i]);
      const int64_t place = counts[q]++;
      expected.push_back(ahead[q] + place < 600 ? static_cast<int32_t>(base[q] + place) : -1);
    }
    const Tensor experts = Tensor::empty(ctx, {runs * rows_a_run, k}, DType::i32);
    write(experts, chosen);
    const auto longs = [&](const std::vector<int64_t>& values) {
      const Tensor t = Tensor::empty(ctx, {runs, num_experts}, DType::i64);
      write(t, values);
      return t;
    };
    const Tensor counted = longs(base), slots = clone(ctx, experts);
    ops::count_choices(ctx, experts, counted);
    EXPECT_EQ(read<int64_t>(counted), counts);
    ops::assign_slots(ctx, experts, longs(base), longs(ahead), 600, slots);
    EXPECT_EQ(read<int32_t>(slots), expected);
  }
}

}  // namespace
}  // namespace trireme::test
