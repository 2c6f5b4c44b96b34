#include "launch/scale/series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The last value of an option, 1 where it is not there: as the parser takes them.
int64_t value_of(const std::vector<std::string>& options, const std::string& name, int64_t otherwise = 1) {
  for (size_t i = 0; i + 1 < options.size(); ++i) {
    if (options[i] == "--" + name) otherwise = std::stoll(options[i + 1]);
  }
  return otherwise;
}

/// Tensor times data parallel, micro-batch 2, like the parser's.
PointFacts check_like_parser(const std::vector<std::string>& options, int ranks) {
  const int64_t tensor = value_of(options, "parallel.tensor"), data = ranks / tensor;
  if (ranks % tensor != 0)
    throw_usage("{} ranks are no multiple of tensor {}\nall options: --help", ranks, tensor);
  const int64_t batch = value_of(options, "train.global-batch", 2 * data);
  if (batch % (2 * data) != 0) throw_usage("global batch {} over {} data-parallel ranks", batch, data);
  return {batch, batch * 16, fmt::format("dp {} x tp {}", data, tensor), {}};
}

std::vector<int64_t> batches_of(const std::vector<Point>& points) {
  std::vector<int64_t> batches;
  for (const Point& point : points) batches.push_back(point.left_out.empty() ? point.facts.global_batch : 0);
  return batches;
}

TEST(SeriesOfRuns, ListsAreRead) {
  EXPECT_THAT(parse_rank_counts("4,1,2"), ElementsAre(1, 2, 4));
  for (const char* wrong : {"", "1,,2", "0", "1,x", "1,2,2", "-1", "99999999999"})
    EXPECT_THROW(parse_rank_counts(wrong), UserError) << wrong;
  EXPECT_THAT(parse_sweep("--parallel.tensor=1,2").values, ElementsAre("1", "2"));
  EXPECT_EQ(parse_sweep("--parallel.tensor=1,2").key, "parallel.tensor");
  EXPECT_THAT(parse_sweep("a.b=1,2;3").values, ElementsAre("1,2", "3"));
  for (const char* wrong : {"", "a", "=1", "a=", "a=1,,2", "a=1,1"})
    EXPECT_THROW(parse_sweep(wrong), UserError) << wrong;
}

TEST(SeriesOfRuns, WeakKeepsTheBatchOfARank) {
  const SeriesRequest request{{1, 2, 3, 4}, ScaleMode::weak, {}, {"--train.global-batch", "8"}};
  EXPECT_THAT(batches_of(plan_points(request, check_like_parser)), ElementsAre(8, 16, 24, 32));
  const SeriesRequest by_default{{2, 4}, ScaleMode::weak, {}, {}};
  EXPECT_THAT(batches_of(plan_points(by_default, check_like_parser)), ElementsAre(4, 8));
}

TEST(SeriesOfRuns, StrongKeepsTheGlobalBatch) {
  const SeriesRequest request{{1, 2, 3, 4}, ScaleMode::strong, {}, {"--train.global-batch", "8"}};
  const std::vector<Point> points = plan_points(request, check_like_parser);
  EXPECT_THAT(batches_of(points), ElementsAre(8, 8, 0, 8));
  EXPECT_EQ(points[2].left_out, "global batch 8 over 3 data-parallel ranks");
  const SeriesRequest by_default{{1, 2, 4}, ScaleMode::strong, {}, {}};
  EXPECT_THAT(batches_of(plan_points(by_default, check_like_parser)), ElementsAre(8, 8, 8));
}

TEST(SeriesOfRuns, SweepsMultiplyAndWhatDoesNotFitIsSaid) {
  const SeriesRequest request{
      {1, 2, 3}, ScaleMode::weak, {{"parallel.tensor", {"1", "2"}}, {"train.seed", {"5", "6"}}}, {}};
  const std::vector<Point> points = plan_points(request, check_like_parser);
  ASSERT_EQ(points.size(), 12u);
  EXPECT_EQ(points[1].line(), "tensor 1, seed 6");
  EXPECT_EQ(points[1].group(), "seed 6") << "layouts share a baseline";
  EXPECT_THAT(batches_of(points), ElementsAre(2, 2, 0, 0, 4, 4, 4, 4, 6, 6, 0, 0));
  EXPECT_EQ(points[2].left_out, "1 ranks are no multiple of tensor 2") << "without the parser's word of help";
  EXPECT_EQ(value_of(points[6].options, "parallel.tensor"), 2);
  EXPECT_EQ(value_of(points[6].options, "train.global-batch"), 4)
      << "the batch of the pure data-parallel layout";
}

TEST(SeriesOfRuns, LayoutsOfARankCountHaveTheBatchOfTheLargest) {
  const SeriesRequest request{{2, 4}, ScaleMode::weak, {{"parallel.tensor", {"1", "2"}}}, {}};
  EXPECT_THAT(batches_of(plan_points(request, check_like_parser)), ElementsAre(4, 4, 8, 8));
}

TEST(SeriesOfRuns, ABatchThatIsNoWholeNumberIsLeftOut) {
  const SeriesRequest request{{2, 3}, ScaleMode::weak, {}, {"--train.global-batch", "16"}};
  EXPECT_THAT(batches_of(plan_points(request, check_like_parser)), ElementsAre(16, 24));
  const SeriesRequest odd{
      {4, 6}, ScaleMode::weak, {{"parallel.tensor", {"4"}}}, {"--train.global-batch", "2"}};
  const std::vector<Point> points = plan_points(odd, check_like_parser);
  EXPECT_THAT(batches_of(points), ElementsAre(2, 0));
  const SeriesRequest fraction{
      {4, 6}, ScaleMode::weak, {{"parallel.tensor", {"2"}}}, {"--train.global-batch", "4"}};
  EXPECT_THAT(batches_of(plan_points(fraction, check_like_parser)), ElementsAre(4, 6));
  const SeriesRequest broken{{4, 5}, ScaleMode::weak, {}, {"--train.global-batch", "8"}};
  EXPECT_THAT(batches_of(plan_points(broken, check_like_parser)), ElementsAre(8, 10));
  const auto any = [](const std::vector<std::string>& options, int) {
    return PointFacts{value_of(options, "train.global-batch", 3), 1, "", {}};
  };
  const std::vector<Point> thirds = plan_points({{2, 3}, ScaleMode::weak, {}, {}}, any);
  EXPECT_THAT(thirds[1].left_out, HasSubstr("would be 4.5 at 3: give --train.global-batch a multiple of 2"));
}

TEST(SeriesOfRuns, WhereNothingFitsAllReasonsStay) {
  const auto never = [](const std::vector<std::string>&, int ranks) -> PointFacts {
    throw_usage("no layout of {}", ranks);
  };
  const std::vector<Point> points = plan_points({{1, 2}, ScaleMode::strong, {}, {}}, never);
  EXPECT_EQ(points[0].left_out, "no layout of 1");
  EXPECT_EQ(points[1].left_out, "no layout of 2");
}

}  // namespace
}  // namespace trireme::launch
