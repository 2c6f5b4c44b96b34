#include "launch/evaluate/divergence.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "runtime/ops/host_copy.h"

namespace trireme::launch {
namespace {

Tensor logits(Context& ctx, const std::vector<float>& values, int64_t columns) {
  return ops::to_device(ctx, values, {std::ssize(values) / columns, columns});
}

TEST(Divergence, OfKnownDistributions) {
  Context ctx;
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4), each with a constant added to its logits.
  const auto log_of = [](double x) { return static_cast<float>(std::log(x)); };
  const std::vector<float> p = {log_of(0.5) + 3, log_of(0.25) + 3, log_of(0.25) + 3};
  const std::vector<float> q = {log_of(0.25) - 2, log_of(0.5) - 2, log_of(0.25) - 2};
  const Divergences found = divergences_of(ctx, logits(ctx, q, 3), logits(ctx, p, 3));
  // 1/2 log 2 - 1/4 log 2.
  EXPECT_NEAR(found.divergences[0], 0.25 * std::log(2.0), 1e-6);
  EXPECT_EQ(found.same_top[0], 0);
}

TEST(Divergence, OfAModelWithItselfIsNothingOnAnyNumberOfThreads) {
  std::mt19937 draw(3);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> values(37 * 11), others;
  for (float& value : values) value = normal(draw);
  others = values;
  others[5] += 1;
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    Context ctx(Device{}, threads);
    const Divergences same = divergences_of(ctx, logits(ctx, values, 37), logits(ctx, values, 37));
    for (size_t row = 0; row < 11; ++row) {
      EXPECT_EQ(same.divergences[row], 0);
      EXPECT_EQ(same.same_top[row], 1);
    }
    const Divergences other = divergences_of(ctx, logits(ctx, others, 37), logits(ctx, values, 37));
    EXPECT_GT(other.divergences[0], 0);
    EXPECT_EQ(other.divergences[1], 0);
    if (first.empty()) first = other.divergences;
    EXPECT_EQ(other.divergences, first);
  }
}

TEST(Divergence, AnImpossibleTokenOfTheReferenceHasNoTerm) {
  Context ctx;
  const float never = -std::numeric_limits<float>::infinity();
  const Divergences found = divergences_of(ctx, logits(ctx, {0, 0, 0}, 3), logits(ctx, {0, 0, never}, 3));
  EXPECT_NEAR(found.divergences[0], std::log(1.5), 1e-6);
  EXPECT_EQ(found.same_top[0], 1);
}

}  // namespace
}  // namespace trireme::launch
