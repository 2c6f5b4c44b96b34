#include "runtime/ops/routing.h"

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

std::vector<int32_t> choices(const Routed& r) {
  return {r.chosen.data<int32_t>(), r.chosen.data<int32_t>() + r.chosen.numel()};
}

Tensor matrix(Context& ctx, int64_t rows, const std::vector<float>& values) {
  return make_tensor(ctx, {rows, static_cast<int64_t>(values.size()) / rows}, DType::f32, values);
}

TEST(Route, SoftmaxWithAndWithoutNormalisation) {
  Context ctx;
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
  Context ctx;
  const Tensor logits = matrix(ctx, 1, {0.0f, std::log(3.0f), -std::log(3.0f)});  // 1/2, 3/4, 1/4
  const Routed r = route(ctx, {.sigmoid = true, .normalize = false}, logits, 2);
  expect_close(to_vector(r.probabilities), {1.0 / 3, 0.5, 1.0 / 6}, 1e-6);
  expect_close(to_vector(r.gates), {0.75, 0.5}, 1e-6);
}

TEST(Route, EqualScoresGoToTheLowerIndexAndHugeLogitsStayFinite) {
  Context ctx;
  const Routed equal = route(ctx, {}, matrix(ctx, 1, {1, 2, 2, 1, 2}), 4);
  EXPECT_EQ(choices(equal), (std::vector<int32_t>{1, 2, 4, 0}));
  for (const bool sigmoid : {false, true}) {
    const Routed huge = route(ctx, {.sigmoid = sigmoid}, matrix(ctx, 2, {3e38f, -3e38f, -3e38f, -3e38f}), 2);
    for (const float gate : to_vector(huge.gates)) EXPECT_TRUE(std::isfinite(gate));
  }
}

TEST(Route, BiasesMoveTheChoiceButNotTheGates) {
  Context ctx;
  const Tensor logits = matrix(ctx, 1, {std::log(1.0f), std::log(2.0f), std::log(1.0f)});
  const Tensor bias = make_tensor(ctx, {3}, DType::f32, {0.5f, 0.0f, -1.0f});
  const Routed r = route(ctx, {.normalize = false}, logits, 2, bias);
  EXPECT_EQ(choices(r), (std::vector<int32_t>{0, 1}));
  expect_close(to_vector(r.gates), {0.25, 0.5}, 1e-6);
}

TEST(Route, GroupsAreChosenByTheirTwoBest) {
  Context ctx;
  // Group 0 has the best expert, group 1 the better pair, group 2 the best but one.
  const Tensor logits = matrix(ctx, 1, {5, -9, -9, 4, 4, -9, 4.5f, 1, -9});
  EXPECT_EQ(choices(route(ctx, {.sigmoid = true, .num_groups = 3, .groups_per_token = 1}, logits, 2)),
            (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(choices(route(ctx, {.sigmoid = true, .num_groups = 3, .groups_per_token = 2}, logits, 3)),
            (std::vector<int32_t>{6, 3, 4}));
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
  Context ctx, threads({}, 3);
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
  Context ctx;
  const Tensor chosen = Tensor::empty(ctx, {4, 2}, DType::i32);
  std::ranges::copy(std::vector<int32_t>{0, 2, 2, 1, 2, 0, 0, 2}, chosen.data<int32_t>());
  const Tensor counts = Tensor::empty(ctx, {2, 3}, DType::i64),
               ahead = Tensor::empty(ctx, {2, 3}, DType::i64), base = Tensor::empty(ctx, {2, 3}, DType::i64),
               slots = Tensor::empty(ctx, {4, 2}, DType::i32);
  ops::count_choices(ctx, chosen, counts);
  EXPECT_EQ(std::vector<int64_t>(counts.data<int64_t>(), counts.data<int64_t>() + 6),
            (std::vector<int64_t>{1, 1, 2, 2, 0, 2}));
  std::ranges::copy(std::vector<int64_t>{0, 0, 0, 1, 0, 2}, ahead.data<int64_t>());
  std::ranges::copy(std::vector<int64_t>{10, 20, 30, 11, 21, 32}, base.data<int64_t>());
  ops::assign_slots(ctx, chosen, base, ahead, 3, slots);
  EXPECT_EQ(std::vector<int32_t>(slots.data<int32_t>(), slots.data<int32_t>() + 8),
            (std::vector<int32_t>{10, 30, 31, 20, 32, 11, 12, -1}));
}

}  // namespace
}  // namespace trireme::test
