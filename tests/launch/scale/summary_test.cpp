#include "launch/scale/summary.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/scale/scale_page.h"
#include "launch/scale/tables.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::Not;

StepParts parts(double compute, double data_axis, double optimizer, double rest) {
  StepParts made{10, compute + data_axis + optimizer + rest, {}};
  made.ms = {{"compute", compute}, {"exposed.data", data_axis}, {"optimizer", optimizer}, {"rest", rest}};
  return made;
}

Point point(int ranks, int64_t tokens, std::vector<std::pair<std::string, std::string>> values = {}) {
  Point made;
  made.ranks = ranks;
  made.values = std::move(values);
  made.facts = {tokens / 16, tokens, fmt::format("dp {}", ranks), {}};
  return made;
}

RunOutcome run(size_t point, int repeat, double tok_s, std::optional<StepParts> step = std::nullopt) {
  RunOutcome made{point, repeat, 0, "", 1, RunMeasurement{}};
  made.measured->tok_s = tok_s;
  made.measured->mfu = 0.5;
  made.measured->steps = 10;
  made.measured->parts = std::move(step);
  return made;
}

/// Weak: 1 rank 10 ms for 160 tokens; 4 ranks 12.5 ms for 640, of which 1 ms slower compute, 1.2 ms exposed,
/// 0.3 ms more optimizer.
SeriesResult four_ranks() {
  std::vector<RunOutcome> runs;
  for (int repeat = 0; repeat < 3; ++repeat) {
    runs.push_back(run(0, repeat, 16000.0 + repeat, parts(9, 0, 0.9, 0.1)));
    runs.push_back(run(1, repeat, 51200.0 + repeat, parts(10, 1.2, 1.2, 0.1)));
  }
  return summarise(ScaleMode::weak, {point(1, 160), point(4, 640)}, runs, 3);
}

TEST(ScaleSummary, SharesAddUpAndLossesAddUpToTheLoss) {
  const SeriesResult series = four_ranks();
  const PointResult& result = series.results[1];
  EXPECT_NEAR(*result.efficiency, 0.8, 1e-3);
  double share = 0, lost = 0;
  for (const PartShare& part : result.shares) share += part.share, lost += part.lost;
  EXPECT_NEAR(share, 1, 1e-12);
  EXPECT_NEAR(lost, 0.2, 1e-12);
  const auto find = [&](const char* key) { return *std::ranges::find(result.shares, key, &PartShare::key); };
  EXPECT_NEAR(find("compute").share, 9 / 12.5, 1e-12);
  EXPECT_NEAR(find("slower compute").share, 1 / 12.5, 1e-12);
  EXPECT_NEAR(find("exposed.data").lost, 1.2 / 12.5, 1e-12);
  EXPECT_NEAR(find("optimizer").share, 1.2 / 12.5, 1e-12);
  EXPECT_NEAR(find("optimizer").lost, 0.3 / 12.5, 1e-12);
}

TEST(ScaleSummary, TheAdviceNamesTheLargestLossWithItsFigure) {
  // 9.6 % of the step: without it 1 / (1 - 0.096) - 1 = 10.6 % more.
  EXPECT_EQ(
      four_ranks().advice,
      "Overlapping or speeding up the data axis' reduction of gradients would help most: at most 11 % more "
      "tokens/s at 4 ranks, where it costs 9.6 % of the 20 % that are lost.");
}

TEST(ScaleSummary, ALossWithinTheSpreadIsNone) {
  const std::vector<RunOutcome> runs = {
      run(0, 0, 95, parts(9, 0, 0.9, 0.1)), run(0, 1, 105, parts(9, 0, 0.9, 0.1)),
      run(1, 0, 196, parts(9, 0.2, 0.9, 0.1)), run(1, 1, 194, parts(9, 0.2, 0.9, 0.1))};
  const SeriesResult series = summarise(ScaleMode::weak, {point(1, 160), point(2, 320)}, runs, 2);
  EXPECT_THAT(series.advice, HasSubstr("no throughput is lost beyond the spread"));
}

TEST(ScaleSummary, OnePointHasAnAdviceOfItsOwn) {
  const SeriesResult series =
      summarise(ScaleMode::weak, {point(1, 160)}, {run(0, 0, 100, parts(6, 0, 3.9, 0.1))}, 1);
  EXPECT_EQ(*series.results[0].efficiency, 1);
  EXPECT_THAT(series.advice,
              HasSubstr("sharded update (--parallel.zero 1) would help most: at most 64 % more"));
  EXPECT_THAT(series.lines[0].fit.missing, HasSubstr("1 rank count measured; a fit needs 3"));
}

TEST(ScaleSummary, LayoutsShareTheBaselineOfTheirGroupAndAnchorTheirFitThere) {
  const auto tensor = [](const char* n, const char* seed) {
    return std::vector<std::pair<std::string, std::string>>{{"parallel.tensor", n}, {"train.seed", seed}};
  };
  const std::vector<Point> points = {point(1, 160, tensor("1", "5")), point(1, 160, tensor("1", "6")),
                                     point(2, 160, tensor("2", "5")), point(4, 160, tensor("2", "5"))};
  std::vector<RunOutcome> runs;
  const double rates[] = {100, 50, 180, 320};
  for (size_t i = 0; i < 4; ++i) runs.push_back(run(i, 0, rates[i]));
  const SeriesResult series = summarise(ScaleMode::strong, points, runs, 1);
  EXPECT_EQ(series.results[1].baseline, 1u) << "another seed is another group";
  EXPECT_EQ(series.results[3].baseline, 0u);
  EXPECT_NEAR(*series.results[3].efficiency, 0.8, 1e-12);
  const auto line = std::ranges::find(series.lines, "tensor 2, seed 5", &LineResult::line);
  EXPECT_EQ(line->fit.rank_counts, 3) << "with the baseline at 1 rank";
}

TEST(ScaleSummary, FailedMissingAndEmptyRunsAreSaid) {
  RunOutcome failed{1, 0, 7, "out of memory", 1, std::nullopt};
  std::vector<Point> points = {point(1, 160), point(2, 320), point(3, 480)};
  points[1].oversubscribed = true;
  points[2].left_out = "it does not fit";
  const SeriesResult series = summarise(ScaleMode::weak, points, {run(0, 0, 100), failed}, 2);
  EXPECT_EQ(series.missing, 2) << "a second run of each";
  EXPECT_FALSE(series.results[1].efficiency);
  const std::string text = terminal_report(series, {{"machine", "one"}});
  for (const char* said : {"out of memory", "it does not fit", "OVERSUBSCRIBED: at 2 ranks",
                           "2 runs have not been made", "failed"})
    EXPECT_THAT(text, HasSubstr(said));
  const SeriesResult nothing = summarise(ScaleMode::weak, {}, {}, 1);
  EXPECT_THAT(nothing.advice, HasSubstr("Nothing was measured"));
  EXPECT_THAT(terminal_report(nothing, {}), Not(HasSubstr("nan")));
  EXPECT_THAT(html_report(nothing, {}), HasSubstr("</html>"));
}

TEST(ScaleSummary, FilesHoldWhatAnybodyWrites) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Point> points = {point(1, 160, {{"run.x", "a,\"b\"</script>"}})};
  const SeriesResult series = summarise(ScaleMode::weak, points, {run(0, 0, nan)}, 1);
  const std::string csv = csv_report(series);
  EXPECT_THAT(csv, HasSubstr("\"a,\"\"b\"\"</script>\""));
  EXPECT_THAT(csv, Not(HasSubstr("nan")));
  const auto json = nlohmann::json::parse(json_report(series, {}, {run(0, 0, nan)}));
  EXPECT_TRUE(json["runs"][0]["tok_s"].is_null());
  EXPECT_EQ(json["points"][0]["values"]["run.x"], "a,\"b\"</script>");
  const SeriesResult more = four_ranks();
  const std::string page = html_report(more, {{"<b>", "<img src=x>"}});
  EXPECT_THAT(page, Not(HasSubstr("<img src=x>")));
  EXPECT_THAT(page, HasSubstr("data axis"));
  const auto all = nlohmann::json::parse(json_report(more, {}, {}));
  EXPECT_NEAR(all["points"][1]["efficiency"].get<double>(), 0.8, 1e-3);
}

}  // namespace
}  // namespace trireme::launch
