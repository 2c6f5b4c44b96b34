#include "runtime/ops/training/muon.h"

#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/stochastic_rounding.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using MuonOpTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(MuonOpTest);

using Doubles = std::vector<double>;

ops::MuonOptions some_options(Context& ctx, float gradient_scale = 0.25f) {
  return {.momentum = 0.9f,
          .weight_decay = 0.1f,
          .scale = 1.5f,
          .update = ops::to_device(ctx, ops::muon_update(1e-2, 3), {ops::kMuonUpdateSize}),
          .gradient_scale = full(ctx, {1}, DType::f32, gradient_scale)};
}

TEST(MuonOp, MomentumFollowsDoublesWithAndWithoutNesterov) {
  Context ctx(test_device()), threads(test_device(), 3);
  for (const int64_t n : {0, 1, 37, 1025, 50001}) {
    for (const bool nesterov : {true, false}) {
      const Tensor m = full(ctx, {n}, DType::f32, 0.0f), direction = Tensor::empty(ctx, {n}, DType::f32);
      ops::MuonOptions options = some_options(ctx);
      options.nesterov = nesterov;
      Doubles mean(static_cast<size_t>(n)), expected(mean.size());
      for (uint64_t step = 0; step < 4; ++step) {
        const Tensor gradient = random_tensor(ctx, {n}, DType::f32, 10 + step);
        ops::muon_momentum(threads, options, gradient, m, step % 2 == 0 ? Tensor() : direction);
        const auto g = to_vector(gradient);
        for (size_t i = 0; i < g.size(); ++i) {
          mean[i] = 0.9 * mean[i] + 0.1 * 0.25 * static_cast<double>(g[i]);
          expected[i] = nesterov ? 0.9 * mean[i] + 0.1 * 0.25 * static_cast<double>(g[i]) : mean[i];
        }
      }
      expect_close(to_vector(m), mean, 1e-6, 0.1);
      expect_close(to_vector(direction), expected, 1e-6, 0.1);
    }
  }
}

TEST_P(MuonOpTest, NormalizeDividesByTheNormButNeverByNothing) {
  const Tensor x = random_tensor(ctx_, {1027}, DType::f32, 2), y = Tensor::empty(ctx_, {1027}, dtype());
  for (const double norm : {5.0, 0.0}) {
    const Tensor squares = ops::to_device(ctx_, std::vector<double>{norm * norm}, {1});
    ops::muon_normalize(threads_, x, squares, y);
    if (norm == 0 && dtype() == DType::f16) continue;  // out of its range
    Doubles expected;
    for (const float value : to_vector(x)) expected.push_back(value / std::max(norm, 1e-7));
    expect_close(to_vector(y), expected, tolerance(), 1e-3);
  }
}

TEST_P(MuonOpTest, ApplyMovesDecaysAndRounds) {
  for (const int64_t n : {0, 1, 1025, 30001}) {
    const Tensor o = random_tensor(ctx_, {n}, dtype(), 1), w = random_tensor(ctx_, {n}, DType::f32, 2);
    const Tensor copy = Tensor::empty(ctx_, {n}, dtype());
    Doubles expected;
    const auto before = to_vector(w), moved = to_vector(o);
    for (size_t i = 0; i < before.size(); ++i) {
      expected.push_back(before[i] -
                         1e-2 * (1.5 * static_cast<double>(moved[i]) + 0.1 * static_cast<double>(before[i])));
    }
    ops::muon_apply(threads_, some_options(ctx_), o, w, copy);
    expect_close(to_vector(w), expected, 1e-6);
    EXPECT_TRUE(same_bits(copy, make_tensor(ctx_, {n}, dtype(), to_vector(w))));
  }
}

TEST_P(MuonOpTest, AScaleThatIsNotFiniteChangesNothing) {
  for (const float scale : {INFINITY, -INFINITY, NAN}) {
    const Tensor gradient = random_tensor(ctx_, {1027}, DType::f32, 1);
    const Tensor m = random_tensor(ctx_, {1027}, DType::f32, 2), w = clone(ctx_, m);
    const Tensor direction = full(ctx_, {1027}, DType::f32, 3), copy = full(ctx_, {1027}, dtype(), 3);
    ops::muon_momentum(ctx_, some_options(ctx_, scale), gradient, m, direction);
    ops::muon_apply(ctx_, some_options(ctx_, scale), gradient, w, copy);
    for (const Tensor& t : {m, w}) EXPECT_TRUE(same_bits(t, random_tensor(ctx_, {1027}, DType::f32, 2)));
    EXPECT_EQ(to_vector(direction), std::vector<float>(1027, 0.0f));
    EXPECT_TRUE(same_bits(copy, full(ctx_, {1027}, dtype(), 3)));
  }
}

TEST(MuonOp, RefusesWhatDoesNotFit) {
  Context ctx(test_device());
  const Tensor t = full(ctx, {4}, DType::f32, 0.0f), longer = full(ctx, {5}, DType::f32, 0.0f);
  const Tensor half = full(ctx, {4}, DType::bf16, 0.0f), squares = Tensor::empty(ctx, {1}, DType::f64);
  const ops::MuonOptions options = some_options(ctx);
  EXPECT_NO_THROW(ops::muon_momentum(ctx, options, t, t, {}));
  EXPECT_THROW(ops::muon_momentum(ctx, options, t, longer, {}), InternalError);
  EXPECT_THROW(ops::muon_momentum(ctx, options, half, t, {}), InternalError);
  EXPECT_THROW(ops::muon_momentum(ctx, options, t, t, longer), InternalError);
  EXPECT_THROW(ops::muon_normalize(ctx, t, t.slice(0, 1), t), InternalError);
  EXPECT_THROW(ops::muon_normalize(ctx, t, squares, longer), InternalError);
  EXPECT_NO_THROW(ops::muon_apply(ctx, options, half, t, half));
  EXPECT_THROW(ops::muon_apply(ctx, options, half, half, {}), InternalError);
  EXPECT_THROW(ops::muon_apply(ctx, options, longer, t, {}), InternalError);
  EXPECT_THROW(ops::muon_apply(ctx, {.gradient_scale = options.gradient_scale}, t, t, {}), InternalError);
  EXPECT_THROW(ops::muon_apply(ctx, {.update = options.update}, t, t, {}), InternalError);
  EXPECT_THROW(ops::muon_update(1e-3, 0), InternalError);
}

TEST(RoundStochastically, ByTheBitsOfItsContract) {
  Context ctx(test_device()), threads(test_device(), 3);
  constexpr int64_t kSize = 3003, kPad = 5;
  const Tensor x = random_tensor(ctx, {kSize}, DType::f32, 4), y = Tensor::empty(ctx, {kSize}, DType::bf16);
  const ops::ElementRange range{kPad, kSize, stream_key(7, "a"), {kSize}, {0}, {kSize}, 2};
  ops::round_stochastically(threads, x, ops::to_device(ctx, std::vector<double>{900}, {1}), {&range, 1}, y);
  const auto wide = read<float>(x);
  const auto rounded = read<bf16>(y);
  for (int64_t i = 0; i < kSize; ++i) {
    const int64_t g = i - kPad + 2;
    const auto words = philox4x32(stream_key(7, "a"), static_cast<uint64_t>(g / 8), 900);
    const uint32_t random =
        i < kPad ? 0 : (words[static_cast<size_t>(g % 8 / 2)] >> (16 * (g % 2))) & 0xffffu;
    const uint32_t bits = std::bit_cast<uint32_t>(wide[static_cast<size_t>(i)]);
    ASSERT_EQ(rounded[static_cast<size_t>(i)].bits, (bits + random) >> 16) << i;
  }
  // What bf16 holds, stays.
  const Tensor again = Tensor::empty(ctx, {kSize}, DType::f32),
               same = Tensor::empty(ctx, {kSize}, DType::bf16);
  ops::copy(ctx, y, again);
  ops::round_stochastically(ctx, again, ops::to_device(ctx, std::vector<double>{1}, {1}), {&range, 1}, same);
  EXPECT_TRUE(same_bits(y, same));
}

}  // namespace
}  // namespace trireme::test
