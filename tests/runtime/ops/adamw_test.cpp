#include "runtime/ops/adamw.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using AdamWTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(AdamWTest);

using Doubles = std::vector<double>;

/// The update of the contract, in doubles.
void reference_step(const ops::AdamWOptions& o, const std::vector<float>& gradient, Doubles& w, Doubles& m,
                    Doubles& v) {
  const double b1 = o.beta1, b2 = o.beta2;
  const double c1 = 1 - std::pow(b1, static_cast<double>(o.step)),
               c2 = 1 - std::pow(b2, static_cast<double>(o.step));
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = static_cast<double>(gradient[i]) * o.gradient_scale;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    w[i] -= o.lr * (m[i] / c1 / (std::sqrt(v[i] / c2) + o.eps) + o.weight_decay * w[i]);
  }
}

ops::AdamWOptions some_options() {
  return {.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.99f, .weight_decay = 0.1f, .gradient_scale = 0.25f};
}

TEST_P(AdamWTest, FollowsDoublesOverSeveralStepsAndRoundsTheCopy) {
  for (const int64_t n : {0, 1, 37, 1025, 50001}) {
    const Tensor w = random_tensor(ctx_, {n}, DType::f32, 1), copy = Tensor::empty(ctx_, {n}, dtype());
    const Tensor m = full(ctx_, {n}, DType::f32, 0.0f), v = full(ctx_, {n}, DType::f32, 0.0f);
    const auto start = to_vector(w);
    Doubles w_ref(start.begin(), start.end()), m_ref(start.size()), v_ref(start.size());
    ops::AdamWOptions options = some_options();
    for (options.step = 1; options.step <= 7; ++options.step) {
      const Tensor gradient =
          random_tensor(ctx_, {n}, DType::f32, 10 + static_cast<uint64_t>(options.step), 0.3f);
      ops::adamw(threads_, options, gradient, w, m, v, copy);
      reference_step(options, to_vector(gradient), w_ref, m_ref, v_ref);
    }
    expect_close(to_vector(w), w_ref, 1e-6);
    expect_close(to_vector(m), m_ref, 1e-6, 0.1);
    expect_close(to_vector(v), v_ref, 1e-6, 0.01);
    EXPECT_TRUE(same_bits(copy, make_tensor(ctx_, {n}, dtype(), to_vector(w))));
  }
}

TEST_P(AdamWTest, ResultsDoNotDependOnTheNumberOfThreads) {
  constexpr int64_t kSize = 100003;
  const Tensor gradient = random_tensor(ctx_, {kSize}, DType::f32, 1);
  const auto run = [&](Context& ctx) {
    const std::vector<Tensor> state = {
        random_tensor(ctx_, {kSize}, DType::f32, 2), full(ctx_, {kSize}, DType::f32, 0.1f),
        full(ctx_, {kSize}, DType::f32, 0.2f), Tensor::empty(ctx_, {kSize}, dtype())};
    ops::adamw(ctx, some_options(), gradient, state[0], state[1], state[2], state[3]);
    return state;
  };
  const auto one = run(ctx_), three = run(threads_);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
}

TEST(AdamW, WithoutGradientOnlyTheDecayActs) {
  Context ctx;
  const Tensor w = full(ctx, {100}, DType::f32, 2.0f), zero = full(ctx, {100}, DType::f32, 0.0f);
  const Tensor m = clone(ctx, zero), v = clone(ctx, zero);
  ops::adamw(ctx, {.lr = 0.5f, .weight_decay = 0.25f}, zero, w, m, v, {});
  EXPECT_EQ(to_vector(w), std::vector<float>(100, 2.0f - 0.5f * 0.25f * 2.0f));
}

TEST(AdamW, RefusesWhatDoesNotFit) {
  Context ctx;
  const Tensor t = full(ctx, {4}, DType::f32, 0.0f), longer = full(ctx, {5}, DType::f32, 0.0f);
  const Tensor half = full(ctx, {4}, DType::bf16, 0.0f);
  EXPECT_THROW(ops::adamw(ctx, {}, longer, t, t, t, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, {}, half, t, t, t, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, {}, t, t, t, {}, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, {}, t, t, t, t, longer), InternalError);
  EXPECT_THROW(ops::adamw(ctx, {.step = 0}, t, t, t, t, half), InternalError);
}

}  // namespace
}  // namespace trireme::test
