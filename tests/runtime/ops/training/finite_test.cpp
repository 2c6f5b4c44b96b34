#include "runtime/ops/training/finite.h"

#include <limits>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

int64_t first_nonfinite(Context& ctx, const Tensor& t) {
  const Tensor first = Tensor::empty(ctx, {1}, DType::i64);
  ops::find_nonfinite(ctx, t, first);
  return read<int64_t>(first)[0];
}

using FiniteTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(FiniteTest);

TEST_P(FiniteTest, FindsTheFirstOfWhateverKind) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    for (const int64_t at : {0, 1, 1023, 1024, 40000, 100002}) {
      for (const int64_t later : {int64_t{100002}, at}) {
        std::vector<float> values(100003, 1.0f);
        values[static_cast<size_t>(at)] = values[static_cast<size_t>(later)] = bad;
        const Tensor t = make_tensor(ctx_, {100003}, dtype(), values);
        EXPECT_EQ(first_nonfinite(ctx_, t), at);
        EXPECT_EQ(first_nonfinite(threads_, t), at);
      }
    }
  }
}

TEST_P(FiniteTest, TheLargestAndTheSmallestAreFinite) {
  const float largest = dtype() == DType::f16 ? 65504.0f : 0x1.fep127f;
  for (const int64_t n : {0, 1, 1025}) {
    for (const float value : {0.0f, -0.0f, largest, -largest, std::numeric_limits<float>::denorm_min()}) {
      EXPECT_EQ(first_nonfinite(ctx_, full(ctx_, {n}, dtype(), value)), n);
    }
  }
}

TEST(Finite, SpoilsByWhatIsNotFinite) {
  Context ctx(test_device());
  const auto spoiled = [&](double x, double out) {
    const Tensor values = Tensor::empty(ctx, {2}, DType::f64);
    write<double>(values, {x, out});
    ops::propagate_nonfinite(ctx, values.slice(0, 1), values.slice(1, 2));
    return read<double>(values)[1];
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double x : {kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_TRUE(std::isnan(spoiled(x, 2.5)));
  }
  EXPECT_EQ(spoiled(-1.7e308, 2.5), 2.5);
  EXPECT_TRUE(std::isnan(spoiled(0, std::numeric_limits<double>::quiet_NaN())));
  const Tensor two = Tensor::empty(ctx, {2}, DType::f64), single = full(ctx, {1}, DType::f32, 1);
  EXPECT_THROW(ops::propagate_nonfinite(ctx, two, two.slice(0, 1)), InternalError);
  EXPECT_THROW(ops::propagate_nonfinite(ctx, two.slice(0, 1), single), InternalError);
}

TEST(Finite, TakesDoublesAndRefusesTheRest) {
  Context ctx(test_device());
  const Tensor values = Tensor::empty(ctx, {3}, DType::f64);
  write<double>(values, {1, std::numeric_limits<double>::max(), -std::numeric_limits<double>::infinity()});
  EXPECT_EQ(first_nonfinite(ctx, values.slice(0, 2)), 2);
  EXPECT_EQ(first_nonfinite(ctx, values), 2);
  EXPECT_THROW(first_nonfinite(ctx, make_indices(ctx, {1})), InternalError);
  EXPECT_THROW(first_nonfinite(ctx, {}), InternalError);
}

}  // namespace
}  // namespace trireme::test
