// Whether what a comparison calls noise is noise: on series that are drawn, with correlation and outliers.
#include "launch/compare/comparison.h"

#include <cmath>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/compare/compare_text.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using namespace launch;
using testing::HasSubstr;
using testing::StartsWith;

/// Step times as runs on a shared machine have them: what a step needs is correlated with the step before, a
/// fifth of the steps waits for cores, and some are disturbed by what nobody has measured.
class DrawnRuns {
 public:
  explicit DrawnRuns(uint32_t seed) : random_(seed) {}

  /// `ratio` is to the other runs; the run itself is off by `spread` (standard deviation).
  ComparedRun draw(double ratio = 1, double spread = 0.01, int num_steps = 300) {
    ComparedRun run;
    run.path = "run";
    const double own = ratio * std::exp(spread * normal_(random_));
    double drift = 0;
    for (int64_t i = 1; i <= num_steps; ++i) {
      drift = 0.9 * drift + 0.01 * normal_(random_);
      ComparedStep step{.step = i, .time = begin_ + static_cast<double>(i)};
      step.core_wait_ms = uniform_(random_) < 0.2 ? 60 * uniform_(random_) : 0;
      step.step_ms = 60 * own * (1 + drift + 0.02 * normal_(random_)) + step.core_wait_ms;
      if (uniform_(random_) < 0.003) step.step_ms *= 20;
      if (i < 4) step.step_ms *= 3;
      step.tok_s = 1000 / step.step_ms * 1e3;
      step.comm_wait_ms = step.checkpoint_wait_ms = 0;
      step.loss = 5 * std::exp(-static_cast<double>(i) / 100);
      run.steps.push_back(step);
    }
    begin_ += 1e4;
    return run;
  }
  std::vector<ComparedRun> draw_several(int num, double ratio = 1, double spread = 0.01) {
    std::vector<ComparedRun> runs;
    for (int i = 0; i < num; ++i) runs.push_back(draw(ratio, spread));
    return runs;
  }
  double normal() { return normal_(random_); }

 private:
  std::mt19937 random_;
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
  double begin_ = 0;
};

TEST(Statistics, IntervalsHoldTheMeanOfCorrelatedSeriesAsOftenAsTheySay) {
  DrawnRuns drawn(1);
  int num_missed = 0;
  constexpr int kTrials = 1000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> series;
    double value = 0;
    for (int i = 0; i < 400; ++i) series.push_back(value = 0.8 * value + drawn.normal());
    const Interval interval = interval_of(*robust_mean(series), 0.95);
    num_missed += interval.low > 0 || interval.high < 0;
  }
  EXPECT_LE(num_missed, kTrials * 0.07);
  EXPECT_GE(num_missed, kTrials * 0.01) << "nor are they so wide that they say nothing";
}

TEST(Statistics, AFewOutliersMoveNothing) {
  std::vector<double> series(200, 10.0);
  series[50] = 1e6;
  series[120] = -1e6;
  EXPECT_EQ(robust_mean(series)->value, 10);
  EXPECT_FALSE(robust_mean(std::vector<double>(4, 1.0)));
  EXPECT_EQ(robust_mean(std::vector<double>(5, 1.0))->error, 0);
}

TEST(Statistics, AreThoseOfTheTables) {
  const Estimate mean = mean_of(std::vector<double>{1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(mean.value, 2.5);
  EXPECT_NEAR(mean.error, 0.6455, 1e-4);
  const Interval interval = interval_of(mean, 0.95);
  EXPECT_NEAR(interval.high - interval.value, 3.182 * 0.6455, 1e-3);
  EXPECT_NEAR(interval_of({3.182, 1, 3}, 0.95).p, 0.05, 1e-4);
  const Estimate d = difference({1, 3, 10}, {5, 4, 20});
  EXPECT_EQ(d.value, 4);
  EXPECT_EQ(d.error, 5);
  EXPECT_NEAR(d.df, 625 / (8.1 + 12.8), 1e-9);
  EXPECT_EQ(interval_of({0, 0, 3}, 0.95).p, 1);
}

/// How many of `trials` comparisons are called no noise.
template <class Draw>
int num_found(int trials, const Draw& draw) {
  int num = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const auto [a, b] = draw();
    num += !compare_speed(a, b, {}).is_noise;
  }
  return num;
}

TEST(CompareSpeed, RepeatsAreNoise) {
  DrawnRuns drawn(2);
  const std::vector<ComparedRun> repeats = drawn.draw_several(20, 1, 0.02);
  int num_wrong = 0, num_pairs = 0;
  for (size_t i = 0; i < repeats.size(); ++i) {
    for (size_t j = 0; j < i; ++j, ++num_pairs)
      num_wrong += !compare_speed({repeats[i]}, {repeats[j]}, {}).is_noise;
  }
  EXPECT_EQ(num_pairs, 190);
  EXPECT_LE(num_wrong, 9) << "5 %";
  EXPECT_LE(num_found(200, [&] { return std::pair(drawn.draw_several(4), drawn.draw_several(4)); }), 16);
}

TEST(CompareSpeed, ThreePercentAreFoundWithRepeats) {
  DrawnRuns drawn(3);
  EXPECT_GE(num_found(20, [&] { return std::pair(drawn.draw_several(8), drawn.draw_several(8, 1.03)); }), 19);
  const NoiseVerdict verdict = compare_speed(drawn.draw_several(8), drawn.draw_several(8, 1.03), {});
  EXPECT_THAT(verdict.text,
              testing::MatchesRegex("B is [0-9.]+ % slower \\(95 %: [0-9.]+ to [0-9.]+ %\\): .*"));
  EXPECT_NEAR(verdict.difference.value, 0.03, 0.015);
  EXPECT_THAT(compare_speed(drawn.draw_several(8), drawn.draw_several(8, 0.9), {}).text, HasSubstr("faster"));
}

TEST(CompareSpeed, OneRunASideFindsWhatIsBeyondTheSpread) {
  DrawnRuns drawn(4);
  const auto pair = [&](double ratio) {
    return std::pair(drawn.draw_several(1), drawn.draw_several(1, ratio));
  };
  EXPECT_EQ(num_found(20, [&] { return pair(1.15); }), 20);
  EXPECT_LE(num_found(20, [&] { return pair(1.03); }), 4) << "repeats may differ by as much";
}

TEST(CompareSpeed, RunsInTurnsAreComparedInPairs) {
  DrawnRuns drawn(5);
  std::vector<ComparedRun> a, b;
  for (int i = 0; i < 6; ++i) {
    const double weather = 1 + 0.1 * i;  // the machine gets slower
    a.push_back(drawn.draw(weather, 0.002));
    b.push_back(drawn.draw(1.03 * weather, 0.002));
  }
  const NoiseVerdict in_turns = compare_speed(a, b, {});
  EXPECT_THAT(in_turns.method, HasSubstr("6 pairs of runs"));
  EXPECT_FALSE(in_turns.is_noise);
  EXPECT_NEAR(in_turns.difference.value, 0.03, 0.01);
  std::swap(a[1], b[0]);
  EXPECT_THAT(compare_speed(a, b, {}).method, HasSubstr("the spread of the repeats"));
}

TEST(CompareSpeed, BatchesOfOtherSizesAreComparedByTheToken) {
  DrawnRuns drawn(6);
  ComparedRun a = drawn.draw(1, 0), b = drawn.draw(2, 0);
  for (ComparedStep& step : b.steps) step.tok_s *= 2;
  const NoiseVerdict verdict = compare_speed({a}, {b}, {});
  EXPECT_TRUE(verdict.is_noise) << verdict.text;
  EXPECT_NEAR(verdict.b / verdict.a, 2, 0.05);
}

TEST(CompareSpeed, WithoutWaitsForCoresStepsThatNothingHeldUpCount) {
  DrawnRuns drawn(10);
  std::vector<ComparedRun> runs = drawn.draw_several(2, 1, 0.002);
  for (ComparedRun& run : runs) {
    for (ComparedStep& step : run.steps) {
      step.is_sure = step.core_wait_ms == 0;
      step.core_wait_ms = std::nan("");  // of a version that does not say it
    }
  }
  const NoiseVerdict sure = compare_speed({runs[0]}, {runs[1]}, {});
  EXPECT_THAT(sure.method, HasSubstr("steps that nothing held up"));
  EXPECT_NEAR(sure.a, 60, 1.5);
  for (ComparedStep& step : runs[1].steps) step.is_sure = false;
  const NoiseVerdict all = compare_speed({runs[0]}, {runs[1]}, {});
  EXPECT_THAT(all.method, HasSubstr("time of all steps"));
  EXPECT_GT(all.a, sure.a + 3) << "the waits are in it";
  for (ComparedRun& run : runs) {  // of several ranks
    for (ComparedStep& step : run.steps) step.core_wait_ms = 0, step.comm_wait_ms = 5;
  }
  EXPECT_THAT(compare_speed({runs[0]}, {runs[1]}, {}).method, HasSubstr("time of all steps"));
}

TEST(CompareSpeed, OfTooFewStepsNothingIsSaid) {
  DrawnRuns drawn(7);
  const NoiseVerdict verdict = compare_speed({drawn.draw(1, 0, 7)}, {drawn.draw()}, {});
  EXPECT_FALSE(verdict.is_known);
  EXPECT_THAT(verdict.text, StartsWith("not compared: run has too few steps"));
}

TEST(CompareLosses, EqualOnesAreSaidToBeSo) {
  DrawnRuns drawn(8);
  const ComparedRun a = drawn.draw();
  ComparedRun b = drawn.draw(1.3);
  EXPECT_EQ(compare_runs({a}, {b}, {}).loss.text, "equal bit for bit, 300 steps");
  for (size_t i = 120; i < b.steps.size(); ++i) b.steps[i].loss += 1e-3 * drawn.normal();
  const Comparison comparison = compare_runs({a}, {b}, {});
  EXPECT_EQ(comparison.equal_until, 120);
  EXPECT_THAT(comparison.loss.text, StartsWith("equal bit for bit until step 120; then noise: "));
  for (size_t i = 0; i < b.steps.size(); ++i) b.steps[i].loss += 0.01;
  EXPECT_THAT(compare_runs({a}, {b}, {}).loss.text, StartsWith("B is 0.0100 higher (95 %: 0.00"));
  b.options["train.seed"] = "7";
  EXPECT_THAT(compare_runs({a}, {b}, {}).loss.method, HasSubstr("another seed"));
}

TEST(CompareLosses, NaNAndMissingStepsAreLeftOut) {
  DrawnRuns drawn(9);
  ComparedRun a = drawn.draw(), b = drawn.draw();
  a.steps[3].loss = std::nan("");
  b.steps.erase(b.steps.begin() + 10);
  EXPECT_EQ(compare_runs({a}, {b}, {}).loss.text, "equal bit for bit, 298 steps");
  b.steps.resize(1);
  b.steps[0].step = 1000;
  EXPECT_THAT(compare_runs({a}, {b}, {}).loss.text, HasSubstr("no step that all runs have"));
}

TEST(CompareOptionsOfRuns, DefaultsAreMadeExplicit) {
  ComparedRun a, b;
  a.options = {{"optimizer.lr", "0.001"}, {"run.dir", "x"}, {"train.seed", "1337"}, {"old.thing", "3"}};
  b.options = {{"optimizer.lr", "0.002"}, {"run.dir", "y"}, {"parallel.tensor", "2"}};
  int64_t num = 0;
  const auto found = differing_options({a}, {b}, num);
  EXPECT_EQ(num, 4);
  ASSERT_EQ(found.size(), 3) << "train.seed is 1337 where it is not given";
  EXPECT_EQ(found[0].key, "old.thing");
  EXPECT_THAT(found[0].b, testing::ElementsAre(""));
  EXPECT_EQ(found[1].key, "optimizer.lr");
  EXPECT_EQ(found[2].key, "parallel.tensor");
  EXPECT_THAT(found[2].a, testing::ElementsAre("1"));
}

TEST(ComparedRunOfFiles, ReadsWhatIsThere) {
  const TemporaryFolder folder;
  folder.write("metrics.jsonl",
               "{\"step\":0,\"val_loss\":5.5}\n"
               "{\"step\":1,\"time\":7,\"loss\":4,\"step_ms\":3,\"tok_s\":10,\"core_wait_ms\":1}\n"
               "{\"step\":2,\"loss\":null,\"mfu_sure\":false,\"skipped\":true}\n"
               "{\"step\":2,\"loss\":3.5,\"val_loss\":3.25}\nno json\n{\"step\":3,\"lo");
  folder.write("config.ini", "[train]\nseed = 7\n");
  folder.write("log.txt", "trireme 0.1.0 (GNU)\nother\n");
  ComparedRun run = read_compared_run(folder.path());
  ASSERT_EQ(run.steps.size(), 2);
  EXPECT_EQ(run.steps[0].core_wait_ms, 1);
  EXPECT_TRUE(std::isnan(run.steps[1].core_wait_ms));
  EXPECT_EQ(run.steps[1].loss, 3.5) << "the later of two";
  EXPECT_EQ(run.last_val_loss, 3.25);
  EXPECT_EQ(run.last_val_step, 2);
  EXPECT_EQ(run.options.at("train.seed"), "7");
  EXPECT_EQ(run.version, "trireme 0.1.0 (GNU)");
  folder.write("events.jsonl", "{\"kind\":\"start\",\"version\":\"0.2.0\"}\n{\"kind\":\"end\"}\n{\"ki");
  EXPECT_EQ(read_compared_run(folder.path()).version, "0.2.0");
  folder.write("metrics.jsonl", "{\"step\":0}\n");
  expect_error(ExitCode::bad_input, {"has no step yet"}, [&] { read_compared_run(folder.path()); });
  expect_error(ExitCode::bad_input, {"/nowhere", "metrics.jsonl"}, [] { read_compared_run("/nowhere"); });
}

}  // namespace
}  // namespace trireme::test
