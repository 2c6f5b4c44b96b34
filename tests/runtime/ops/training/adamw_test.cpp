#include "runtime/ops/training/adamw.h"

#include "runtime/ops/host_copy.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using AdamWTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(AdamWTest);

using Doubles = std::vector<double>;

constexpr float kLr = 1e-2f;

/// The update of the contract, in doubles.
void reference_step(const ops::AdamWOptions& o, int64_t step, const std::vector<float>& gradient, Doubles& w,
                    Doubles& m, Doubles& v) {
  const double b1 = o.beta1, b2 = o.beta2, scale = read<float>(o.gradient_scale)[0];
  const double c1 = 1 - std::pow(b1, static_cast<double>(step)),
               c2 = 1 - std::pow(b2, static_cast<double>(step));
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = static_cast<double>(gradient[i]) * scale;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    w[i] -= kLr * (m[i] / c1 / (std::sqrt(v[i] / c2) + o.eps) + o.weight_decay * w[i]);
  }
}

ops::AdamWOptions of_update(Context& ctx, int64_t step, float lr, ops::AdamWOptions options) {
  options.update = ops::to_device(ctx, ops::adamw_update(options, lr, step), {ops::kAdamWUpdateSize});
  return options;
}

ops::AdamWOptions some_options(Context& ctx, float gradient_scale = 0.25f, int64_t step = 1) {
  return of_update(ctx, step, kLr,
                   {.beta1 = 0.9f,
                    .beta2 = 0.99f,
                    .weight_decay = 0.1f,
                    .gradient_scale = full(ctx, {1}, DType::f32, gradient_scale)});
}

TEST_P(AdamWTest, FollowsDoublesOverSeveralStepsAndRoundsTheCopy) {
  for (const int64_t n : {0, 1, 37, 1025, 50001}) {
    const Tensor w = random_tensor(ctx_, {n}, DType::f32, 1), copy = Tensor::empty(ctx_, {n}, dtype());
    const Tensor m = full(ctx_, {n}, DType::f32, 0.0f), v = full(ctx_, {n}, DType::f32, 0.0f);
    const auto start = to_vector(w);
    Doubles w_ref(start.begin(), start.end()), m_ref(start.size()), v_ref(start.size());
    for (int64_t step = 1; step <= 7; ++step) {
      const ops::AdamWOptions options = some_options(ctx_, 0.25f, step);
      const Tensor gradient = random_tensor(ctx_, {n}, DType::f32, 10 + static_cast<uint64_t>(step), 0.3f);
      ops::adamw(threads_, options, gradient, w, m, v, copy);
      reference_step(options, step, to_vector(gradient), w_ref, m_ref, v_ref);
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
    ops::adamw(ctx, some_options(ctx_), gradient, state[0], state[1], state[2], state[3]);
    return state;
  };
  const auto one = run(ctx_), three = run(threads_);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], three[i])) << i;
}

TEST(AdamW, WithoutGradientOnlyTheDecayActs) {
  Context ctx(test_device());
  const Tensor w = full(ctx, {100}, DType::f32, 2.0f), zero = full(ctx, {100}, DType::f32, 0.0f);
  const Tensor m = clone(ctx, zero), v = clone(ctx, zero);
  ops::adamw(ctx, of_update(ctx, 1, 0.5f, {.weight_decay = 0.25f}), zero, w, m, v, {});
  EXPECT_EQ(to_vector(w), std::vector<float>(100, 2.0f - 0.5f * 0.25f * 2.0f));
}

/// How a step that is not finite leaves the weights alone before the host has heard of it.
TEST_P(AdamWTest, AScaleThatIsNotFiniteChangesNothing) {
  constexpr int64_t kSize = 1027;
  const ops::ElementRange range{.begin = 0, .end = kSize, .global = {kSize}, .offset = {0}, .shape = {kSize}};
  for (const float scale : {INFINITY, -INFINITY, NAN}) {
    const Tensor gradient = random_tensor(ctx_, {kSize}, DType::f32, 1),
                 rounded = full(ctx_, {kSize}, dtype(), 3);
    const Tensor half = random_tensor(ctx_, {kSize}, DType::bf16, 3);
    const Tensor w = random_tensor(ctx_, {kSize}, DType::f32, 2), m = clone(ctx_, w), v = clone(ctx_, w);
    ops::adamw(ctx_, some_options(ctx_, scale), gradient, w, m, v, rounded);
    ops::adamw_stochastic(ctx_, some_options(ctx_, scale), gradient, half, m, v, {&range, 1});
    for (const Tensor& t : {w, m, v}) EXPECT_TRUE(same_bits(t, random_tensor(ctx_, {kSize}, DType::f32, 2)));
    EXPECT_TRUE(same_bits(rounded, full(ctx_, {kSize}, dtype(), 3)));
    EXPECT_TRUE(same_bits(half, random_tensor(ctx_, {kSize}, DType::bf16, 3)));
  }
}

TEST(AdamW, RefusesWhatDoesNotFit) {
  Context ctx(test_device());
  const Tensor t = full(ctx, {4}, DType::f32, 0.0f), longer = full(ctx, {5}, DType::f32, 0.0f);
  const Tensor half = full(ctx, {4}, DType::bf16, 0.0f);
  const ops::AdamWOptions options = some_options(ctx);
  EXPECT_NO_THROW(ops::adamw(ctx, options, t, t, t, t, {}));
  EXPECT_THROW(ops::adamw(ctx, options, longer, t, t, t, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, options, half, t, t, t, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, options, t, t, t, {}, {}), InternalError);
  EXPECT_THROW(ops::adamw(ctx, options, t, t, t, t, longer), InternalError);
  EXPECT_THROW(ops::adamw_update(options, 1e-3, 0), InternalError);
  for (const Tensor& scale : {t, half.slice(0, 1)}) {
    ops::AdamWOptions wrong = options;
    wrong.gradient_scale = scale;
    EXPECT_THROW(ops::adamw(ctx, wrong, t, t, t, t, {}), InternalError);
  }
  for (const Tensor& update : {Tensor(), t}) {
    ops::AdamWOptions wrong = options;
    wrong.update = update;
    EXPECT_THROW(ops::adamw(ctx, wrong, t, t, t, t, {}), InternalError);
  }
}

// A whole tensor of n elements as one range.
ops::ElementRange whole_range(int64_t n, std::string_view name) {
  return {.begin = 0, .end = n, .key = stream_key(7, name), .global = {n}, .offset = {0}, .shape = {n}};
}

struct StochasticState {
  Tensor gradient, w, m, v;

  StochasticState(Context& ctx, int64_t n)
      : gradient(random_tensor(ctx, {n}, DType::f32, 1)),
        w(random_tensor(ctx, {n}, DType::bf16, 2)),
        m(random_tensor(ctx, {n}, DType::f32, 3, 0.1f)),
        v(full(ctx, {n}, DType::f32, 0.2f)) {}
  void step(Context& ctx, const ops::AdamWOptions& options, std::span<const ops::ElementRange> ranges) const {
    ops::adamw_stochastic(ctx, options, gradient, w, m, v, ranges);
  }
};

TEST(AdamWStochastic, RoundsTheFp32UpdateByTheBitsOfItsContract) {
  Context ctx(test_device()), threads(test_device(), 3);
  constexpr int64_t kSize = 5003;
  for (const int64_t step : {1, 900}) {
    const ops::AdamWOptions options = some_options(ctx, 0.25f, step);
    const StochasticState state(ctx, kSize), wide(ctx, kSize);
    const Tensor exact = make_tensor(ctx, {kSize}, DType::f32, to_vector(wide.w));
    ops::adamw(ctx, options, wide.gradient, exact, wide.m, wide.v, {});
    const auto range = whole_range(kSize, "a");
    state.step(threads, options, {&range, 1});
    EXPECT_TRUE(same_bits(state.m, wide.m));
    EXPECT_TRUE(same_bits(state.v, wide.v));
    const auto wide_values = read<float>(exact);
    const auto rounded = read<bf16>(state.w);
    for (int64_t i = 0; i < kSize; ++i) {
      const auto words =
          philox4x32(stream_key(7, "a"), static_cast<uint64_t>(i / 8), static_cast<uint64_t>(step));
      const uint32_t random = (words[static_cast<size_t>(i % 8 / 2)] >> (16 * (i % 2))) & 0xffffu;
      const uint32_t sum = std::bit_cast<uint32_t>(wide_values[static_cast<size_t>(i)]) + random;
      ASSERT_EQ(rounded[static_cast<size_t>(i)].bits, sum >> 16) << i;
    }
  }
}

/// A block of columns of a matrix, as a list of the whole's elements.
struct Block {
  Shape global{40, 60}, offset{8, 13}, shape{31, 37};
  size_t element(int64_t i) const {
    return static_cast<size_t>((offset[0] + i / shape[1]) * global[1] + offset[1] + i % shape[1]);
  }
  /// Elements [from, to) of the block behind `pad` zeros.
  template <class T>
  std::vector<T> part(const std::vector<T>& whole, int64_t from, int64_t to, int64_t pad) const {
    std::vector<T> out(static_cast<size_t>(pad));
    for (int64_t i = from; i < to; ++i) out.push_back(whole[element(i)]);
    return out;
  }
};

TEST(AdamWStochastic, PartsOfATensorRoundAsTheWhole) {
  Context ctx(test_device());
  const Block block;
  const StochasticState whole(ctx, block.global.numel());
  ops::ElementRange all = whole_range(block.global.numel(), "w");
  all.global = all.shape = block.global;
  all.offset = {0, 0};
  // Cut in flat tensors in the middle of rows, behind 5 elements of padding, each in many ranges.
  const int64_t cut = 500, pad = 5;
  const auto part = [&](int64_t from, int64_t to, int64_t range_size) {
    StochasticState state(ctx, pad + to - from);
    for (const auto& [out, in] :
         {std::pair{state.gradient, whole.gradient}, {state.m, whole.m}, {state.v, whole.v}}) {
      write(out, block.part(read<float>(in), from, to, pad));
    }
    write(state.w, block.part(read<bf16>(whole.w), from, to, pad));
    std::vector<ops::ElementRange> ranges;
    for (int64_t i = from; i < to; i += range_size) {
      const int64_t end = std::min(i + range_size, to);
      ranges.push_back(
          {pad + i - from, pad + end - from, all.key, block.global, block.offset, block.shape, i});
    }
    state.step(ctx, some_options(ctx), ranges);
    return read<bf16>(state.w);
  };
  const auto first = part(0, cut, cut), second = part(cut, block.shape.numel(), 13);
  whole.step(ctx, some_options(ctx), {&all, 1});
  const auto expected = block.part(read<bf16>(whole.w), 0, block.shape.numel(), 0);
  for (int64_t i = 0; i < block.shape.numel(); ++i) {
    const auto at = static_cast<size_t>(pad + (i < cut ? i : i - cut));
    ASSERT_EQ((i < cut ? first : second)[at].bits, expected[static_cast<size_t>(i)].bits) << i;
  }
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(static_cast<float>(second[i]), 0.0f);
}

// Nearest rounding would leave every weight where it is.
TEST(AdamWStochastic, SmallStepsAreKeptOnAverage) {
  Context ctx(test_device());
  constexpr int64_t kSize = 100000;
  const Tensor gradient = full(ctx, {kSize}, DType::f32, 1.0f), w = full(ctx, {kSize}, DType::bf16, 1.0f);
  const Tensor m = full(ctx, {kSize}, DType::f32, 0.0f), v = full(ctx, {kSize}, DType::f32, 0.0f);
  const auto range = whole_range(kSize, "a");
  for (int64_t step = 1; step <= 10; ++step) {
    ops::adamw_stochastic(ctx, of_update(ctx, step, 1e-4f, {}), gradient, w, m, v, {&range, 1});
  }
  double mean = 0;
  for (const float value : to_vector(w)) mean += static_cast<double>(value) / kSize;
  EXPECT_NEAR(mean, 1 - 10 * 1e-4, 2e-5);  // 6 standard deviations of the mean
}

TEST(AdamWStochastic, HidesNoNotANumber) {
  Context ctx(test_device());
  const Tensor gradient = make_tensor(ctx, {2}, DType::f32, {NAN, 0}),
               w = make_tensor(ctx, {2}, DType::bf16, {1.0f, INFINITY});
  const Tensor m = full(ctx, {2}, DType::f32, 0.0f), v = full(ctx, {2}, DType::f32, 0.0f);
  const auto range = whole_range(2, "a");
  ops::adamw_stochastic(ctx, of_update(ctx, 1, 1e-4f, {}), gradient, w, m, v, {&range, 1});
  EXPECT_THAT(to_vector(w), testing::Each(testing::IsNan()));
}

TEST(AdamWStochastic, RefusesWhatDoesNotFit) {
  Context ctx(test_device());
  const Tensor t = full(ctx, {4}, DType::f32, 0.0f), w = full(ctx, {4}, DType::bf16, 0.0f);
  const auto range = whole_range(4, "a"), longer = whole_range(5, "a");
  const ops::ElementRange twice[] = {range, range};
  const ops::AdamWOptions options = some_options(ctx);
  EXPECT_NO_THROW(ops::adamw_stochastic(ctx, options, t, w, t, t, {&range, 1}));
  EXPECT_THROW(ops::adamw_stochastic(ctx, options, t, t, t, t, {&range, 1}), InternalError);
  EXPECT_THROW(ops::adamw_stochastic(ctx, options, t, w, t, t, {&longer, 1}), InternalError);
  EXPECT_THROW(ops::adamw_stochastic(ctx, options, t, w, t, t, twice), InternalError);
}

}  // namespace
}  // namespace trireme::test
