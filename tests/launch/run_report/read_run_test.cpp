// Reading what runs leave, whole or damaged.
#include "launch/run_report/read_run.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/run_report/json_lines.h"
#include "launch/run_report/report_page.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

RunData of_metrics(const std::string& text) {
  RunData run;
  read_metrics(text, run);
  return run;
}

std::string record(int step, double loss, const std::string& more = "") {
  return fmt::format(R"({{"step":{},"time":{},"tokens":{},"loss":{}{}}})", step, 1000 + 36 * step, step * 100,
                     loss, more);
}

TEST(ReadRun, CurvesHaveAllSteps) {
  const RunData run = of_metrics(record(1, 4.5) + "\n" + record(2, 4.25, ",\"val_loss\":4.5") + "\n");
  EXPECT_THAT(run.steps.at.step, ElementsAre(1, 2));
  EXPECT_THAT(run.steps.at.tokens, ElementsAre(100, 200));
  EXPECT_THAT(run.steps.at.hours, ElementsAre(0, 0.01));
  EXPECT_THAT(run.steps.values.at("loss"), ElementsAre(4.5, 4.25));
  EXPECT_TRUE(std::isnan(run.steps.values.at("val_loss")[0]));
  EXPECT_EQ(run.steps.values.at("val_loss")[1], 4.5);
  EXPECT_THAT(run.problems, IsEmpty());
}

TEST(ReadRun, ALineThatIsCutIsLeftOut) {
  const RunData run = of_metrics(record(1, 4.5) + "\n" + record(2, 4.25).substr(0, 20));
  EXPECT_THAT(run.steps.at.step, ElementsAre(1));
  EXPECT_THAT(run.problems, ElementsAre(HasSubstr("ends within a line")));
}

TEST(ReadRun, LineEndsOfWindowsAndNumbersOfPythonAreRead) {
  const RunData run = of_metrics(
      "{\"step\": 1, \"loss\": NaN, \"note\": \"NaN stays\"}\r\n{\"step\": 2, \"loss\": -Infinity}\r\n" +
      std::string("{\"step\": 3, \"loss\": null}\r\n{\"step\": 4, \"loss\": 2.5}\r\n\r\n"));
  EXPECT_THAT(run.steps.at.step, ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(std::isnan(run.steps.values.at("loss")[0]));
  EXPECT_EQ(run.steps.values.at("loss")[3], 2.5);
  EXPECT_THAT(run.problems, IsEmpty());
}

TEST(ReadRun, DamagedLinesAreCountedAndTheRestIsRead) {
  const RunData run = of_metrics(
      "rubbish\n[1,2]\n{\"loss\":1}\n{\"step\":1,\"loss\":}\n" + record(2, 3) + "\n" +
      std::string(
          "{\"step\":3,\"loss\":\"text\",\"experts\":[1,{\"load\":7}],\"breakdown\":[],\"memory\":3}\n"));
  EXPECT_THAT(run.steps.at.step, ElementsAre(2, 3));
  EXPECT_TRUE(std::isnan(run.steps.values.at("loss")[1]));
  EXPECT_THAT(run.problems, ElementsAre(HasSubstr("4 damaged lines")));
}

TEST(ReadRun, ARunThatWentBackIsOneCurve) {
  const RunData run = of_metrics(record(1, 5) + "\n" + record(2, 4) + "\n" + record(3, 9) + "\n" +
                                 record(2, 4.5) + "\n" + record(3, 3) + "\n");
  EXPECT_THAT(run.steps.at.step, ElementsAre(1, 2, 3));
  EXPECT_THAT(run.steps.values.at("loss"), ElementsAre(5, 4.5, 3));
  EXPECT_THAT(run.steps.at.hours, ElementsAre(0, 0.01, 0.02));
}

TEST(ReadRun, EmptyFilesHaveNoSteps) {
  EXPECT_EQ(of_metrics("").steps.at.size(), 0u);
  EXPECT_EQ(of_metrics("\n\n").steps.at.size(), 0u);
  EXPECT_EQ(of_metrics("{").steps.at.size(), 0u);
}

TEST(ReadRun, BreakdownHasItsPartsInOrder) {
  const RunData run = of_metrics(
      record(
          10, 3,
          R"(,"breakdown":{"steps":10,"step_ms":20,"rest_ms":1,"compute_ms":14,"exposed_ms":{"tensor":2,"data":1},"bubble_ms":2},"memory":{"buffers":1,"weights":5})") +
      "\n");
  EXPECT_THAT(run.breakdown.order,
              ElementsAre("compute", "exposed data", "exposed tensor", "pipeline bubble", "rest"));
  EXPECT_THAT(run.memory.order, ElementsAre("weights", "buffers"));
  EXPECT_THAT(run.memory.values.at("weights"), ElementsAre(5));
}

TEST(ReadRun, LoadsOfExpertsAreMeansOfWindows) {
  std::string text;
  for (int step = 1; step <= 1000; ++step)
    text += record(step, 2,
                   fmt::format(
                       R"(,"experts":[{{"layer":1,"imbalance":1.5,"dropped":0,"dead":0,"load":[0.75,{}]}}])",
                       step <= 500 ? 0.25 : 0.5)) +
            "\n";
  const RunData run = of_metrics(text);
  ASSERT_TRUE(run.loads);
  EXPECT_EQ(run.loads->records_per_window, 5);
  ASSERT_EQ(run.loads->layers.size(), 1u);
  const auto& of_expert = run.loads->layers[0].of_expert;
  ASSERT_EQ(of_expert.size(), 2u);
  EXPECT_EQ(of_expert[0].size(), 200u);
  EXPECT_EQ(of_expert[1].front(), 0.25);
  EXPECT_EQ(of_expert[1].back(), 0.5);
}

TEST(ReadRun, RanksAreTables) {
  RunData run;
  read_ranks(
      "{\"step\":10,\"time\":1,\"compute_ms\":[1,2],\"wait_ms\":[2,1]}\n{\"step\":20,\"time\":2,\"compute_"
      "ms\":[3,null],\"wait_ms\":[2,1]}\n",
      run);
  ASSERT_TRUE(run.ranks);
  EXPECT_EQ(run.ranks->num_ranks, 2u);
  EXPECT_THAT(run.ranks->at.step, ElementsAre(10, 20));
  EXPECT_THAT(run.ranks->values.at("compute_ms")[0], ElementsAre(1, 3));
  EXPECT_EQ(run.ranks->values.at("compute_ms")[1][0], 2);
  EXPECT_TRUE(std::isnan(run.ranks->values.at("compute_ms")[1][1]));
}

TEST(ReadRun, TracesJoinWhatNoScreenShowsApart) {
  std::string events;
  for (int i = 0; i < 10'000; ++i)
    events += fmt::format(R"({}{{"name":"op","cat":"products","ph":"X","ts":{},"dur":1,"pid":0,"tid":0}})",
                          i ? "," : "", i);
  events +=
      R"(,{"name":"send","cat":"pipeline","ph":"X","ts":5000,"dur":9000,"pid":3,"tid":1},{"ph":"M","pid":0},7)";
  RunData run;
  read_profile("{\"traceEvents\":[" + events + "]}", run);
  ASSERT_TRUE(run.timeline);
  EXPECT_THAT(run.timeline->rows, ElementsAre("rank 0", "rank 3"));
  EXPECT_THAT(run.timeline->kinds, ElementsAre("products", "waits: pipeline"));
  ASSERT_EQ(run.timeline->spans.size(), 2u);
  EXPECT_NEAR(run.timeline->spans[0].length, 10, 1e-9) << "ms";
  EXPECT_NEAR(run.timeline->spans[1].begin, 5, 1e-9);
  EXPECT_THAT(run.timeline->spans[0].text, HasSubstr("9999 more"));
  read_profile("{", run);
  EXPECT_THAT(run.problems, Contains(HasSubstr("profile.json")));
}

TEST(ReadRun, ConfigurationsAreCompared) {
  EXPECT_THAT(config_differences({{"a", "1"}, {"b", "2"}, {"c", "3"}}, {{"a", "1"}, {"b", "5"}, {"d", "4"}}),
              ElementsAre("b: 2 -> 5", "c: 3 -> (not set)", "d: (not set) -> 4"));
}

class RunDirectories : public testing::Test {
 protected:
  RunDirectories()
      : root_(fs::path(testing::TempDir()) /
              fmt::format("runs_{}", testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~RunDirectories() override { fs::remove_all(root_); }
  std::string make(const std::string& name, const std::string& metrics) {
    fs::create_directories(root_ / name);
    std::ofstream(root_ / name / "metrics.jsonl") << metrics;
    return (root_ / name).string();
  }
  fs::path root_;
};

TEST_F(RunDirectories, WhatIsNoRunIsBadInput) {
  const auto message = [](const std::string& path) {
    try {
      read_run(path);
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message((root_ / "nowhere").string()), HasSubstr("no such directory"));
  EXPECT_THAT(message(root_.string()), HasSubstr("no metrics.jsonl"));
  std::ofstream(root_ / "file") << "x";
  EXPECT_THAT(message((root_ / "file").string()), HasSubstr("is no directory"));
}

TEST_F(RunDirectories, EqualNamesAreToldApart) {
  make("x/run", "");
  make("y/run", "");
  const std::string x = (root_ / "x/run").string(), y = (root_ / "y/run").string();
  const auto runs = read_runs({x, y, x});
  EXPECT_EQ(runs[0].name, x);
  EXPECT_EQ(runs[1].name, y);
  EXPECT_EQ(runs[2].name, x + " (2)");
  EXPECT_EQ(read_runs({x + "/"})[0].name, "run");
}

TEST_F(RunDirectories, PagesOfDamagedAndHostileRunsAreWhole) {
  const std::string hostile = "</script><img src=x onerror=alert(1)> \xff";
  const std::string path = make("r <b> & \"q\" ü", record(1, 3) + "\n" + record(2, 2.5).substr(0, 9));
  std::ofstream(fs::path(path) / "events.jsonl")
      << "{\"time\":1,\"step\":1,\"kind\":\"<i>\",\"text\":\"" << hostile << "\"}\n"
      << "{\"time\":-1e300,\"step\":9,\"kind\":\"sample\",\"text\":\"</pre><b>\"}\nhalf";
  std::ofstream(fs::path(path) / "config.ini") << "[a]\nb = \"</td><script>\"\nnonsense\n";
  const RunData run = read_run(path);
  const std::string html = report_page({run}, {}).html();
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("</td><script>")));
  EXPECT_THAT(html, HasSubstr("r &lt;b&gt; &amp; &quot;q&quot; ü"));
  EXPECT_EQ(html, report_page({read_run(path)}, {}).html()) << "equal runs, equal bytes";
}

TEST_F(RunDirectories, ManyEventsAreBounded) {
  const std::string path = make("many", record(1, 3) + "\n" + record(5000, 3) + "\n");
  std::ofstream events(fs::path(path) / "events.jsonl");
  for (int i = 1; i <= 5000; ++i)
    events << fmt::format(R"({{"time":1,"step":{},"kind":"{}","text":"w"}})", i,
                          i % 2 ? "checkpoint" : "warning")
           << "\n";
  events << R"({"time":1,"step":5000,"kind":"end","text":"the very end"})"
         << "\n";
  events.close();
  const std::string html = report_page({read_run(path)}, {}).html();
  EXPECT_LT(html.size(), 400'000u);
  EXPECT_THAT(html, HasSubstr("the very end"));
  EXPECT_THAT(html, HasSubstr("2,201 of kind warning"));
}

}  // namespace
}  // namespace trireme::launch
