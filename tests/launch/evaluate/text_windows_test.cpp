#include "launch/evaluate/text_windows.h"

#include <gtest/gtest.h>

#include "launch/evaluate/sample_statistics.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using Tokens = std::vector<int32_t>;

TEST(TextWindows, AreCutAsTrainingEvaluates) {
  const Tokens ids = {10, 11, 12, 13, 14, 15};
  const TextWindows windows = windows_of(ids, 3, {});
  ASSERT_EQ(windows.sequences.size(), 2U);
  EXPECT_EQ(windows.sequences[0].tokens, (Tokens{10, 11, 12}));
  EXPECT_EQ(windows.sequences[1].tokens, (Tokens{13, 14}));
  EXPECT_EQ(windows.targets, (Tokens{11, 12, 13, 14, 15}));
  EXPECT_EQ(windows.window, 3);
  EXPECT_EQ(windows.sequences[1].num_logits(), 2);
}

TEST(TextWindows, ThatBeginWithTokensPredictAllOfTheText) {
  const Tokens ids = {10, 11, 12, 13, 14}, begin = {1, 2};
  const TextWindows windows = windows_of(ids, 4, begin);
  ASSERT_EQ(windows.sequences.size(), 2U);
  EXPECT_EQ(windows.sequences[0].tokens, (Tokens{1, 2, 10, 11}));  // four tokens are seen
  EXPECT_EQ(windows.sequences[1].tokens, (Tokens{1, 2, 13}));
  EXPECT_EQ(windows.targets, ids);
  EXPECT_EQ(windows.sequences[0].num_logits(), 3);
  EXPECT_EQ(windows.sequences[1].num_logits(), 2);
}

TEST(TextWindows, NeedATokenToPredict) {
  const Tokens one = {10}, none, begin = {1, 2, 3};
  EXPECT_THROW(windows_of(one, 4, {}), UserError);
  EXPECT_THROW(windows_of(none, 4, begin), UserError);
  EXPECT_THROW(windows_of(one, 2, begin), UserError);
  EXPECT_EQ(windows_of(one, 3, begin).targets, one);
}

TEST(TextWindows, LossesAreAllAddedUp) {
  Context ctx;
  for (const int64_t count : {1, 7, 8, 50, 2049}) {
    std::vector<float> losses;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      losses.push_back(static_cast<float>(i % 13) + 0.25F);
      sum += double{losses.back()};
    }
    EXPECT_EQ(sum_as_training(ctx, losses, 7, 2, 100), sum);
    EXPECT_EQ(sum_as_training(ctx, losses, 7, 8, 100), sum);
    EXPECT_EQ(sum_as_training(ctx, losses, 1000, 8, 1 << 24), sum);  // few logits at once
  }
}

TEST(SampleStatistics, OfKnownNumbers) {
  const std::vector<float> values = {4, 1, 3, 2};
  const SampleMean mean = sample_mean(values);
  EXPECT_DOUBLE_EQ(mean.mean, 2.5);
  EXPECT_DOUBLE_EQ(mean.error, std::sqrt(5.0 / 3 / 4));
  const double shares[] = {0, 0.5, 0.75, 1};
  EXPECT_EQ(quantiles_of(values, shares), (std::vector<double>{1, 2.5, 3.25, 4}));
  const std::vector<float> one = {7}, none;
  EXPECT_EQ(sample_mean(one).mean, 7);
  EXPECT_TRUE(std::isnan(sample_mean(one).error));
  EXPECT_TRUE(std::isnan(sample_mean(none).mean));
  EXPECT_TRUE(std::isnan(quantiles_of(none, shares)[1]));
}

}  // namespace
}  // namespace trireme::launch
