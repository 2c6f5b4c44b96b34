#include "launch/scale/run_record.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

class RunRecord : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("run-record-" + std::to_string(::getpid()));
};

const char* const kBreakdown =
    R"("breakdown":{"steps":2,"step_ms":10,"compute_ms":6,"exposed_ms":{"tensor":1,"data":0.5},"bubble_ms":0,)"
    R"("data_ms":0.5,"imbalance_ms":1,"optimizer_ms":0.75,"checkpoint_ms":0,"rest_ms":0.25})";

TEST_F(RunRecord, StepsAfterTheWarmUpCount) {
  write(
      "metrics.jsonl",
      fmt::format("{{\"step\":0,\"val_loss\":3}}\n"
                  "{{\"step\":1,\"step_ms\":500,\"tok_s\":1,\"mem_bytes\":900}}\n"
                  "{{\"step\":2,\"step_ms\":500,\"tok_s\":1,\"mem_bytes\":900,{0}}}\n"
                  "{{\"step\":3,\"step_ms\":10,\"tok_s\":1600,\"mfu\":0.4,\"mem_bytes\":700}}\n"
                  "{{\"step\":4,\"step_ms\":30,\"tok_s\":533.3333333333333,\"mfu\":0.1333333333333333,{0}}}\n"
                  "not json\n{{\"step\":5,\"step_ms\":1",
                  kBreakdown));
  write("ranks.jsonl", R"({"step":4,"mem_bytes":[700,1200]})");
  write("events.jsonl", "{\"kind\":\"start\",\"predicted_bytes\":1100,\"hosts\":2}\n");
  const RunMeasurement run = read_run_record(folder_.string(), 2);
  EXPECT_EQ(run.steps, 2);
  EXPECT_NEAR(run.tok_s, 32 / 0.04, 1e-6) << "all tokens by all time";
  EXPECT_NEAR(run.mfu, 0.2, 1e-9);
  EXPECT_NEAR(run.step_ms, 20, 1e-9);
  EXPECT_EQ(run.measured_bytes, 1200);
  EXPECT_EQ(run.predicted_bytes, 1100);
  EXPECT_EQ(run.hosts, 2);
  ASSERT_TRUE(run.parts);
  EXPECT_EQ(run.parts->steps, 2) << "the window of the warm-up does not count";
  EXPECT_THROW(read_run_record(folder_.string(), 4), UserError);
}

TEST(StepPartsOfRecords, MeansAddUpToTheStep) {
  const auto one = read_parts(nlohmann::json::parse(std::string("{") + kBreakdown + "}")["breakdown"]);
  ASSERT_TRUE(one);
  EXPECT_NEAR(one->sum(), 10, 1e-12);
  EXPECT_EQ((*one)["exposed.data"], 0.5);
  EXPECT_EQ((*one)["exposed.pipeline"], 0);
  const auto other = read_parts(nlohmann::json::parse(
      R"({"steps":6,"step_ms":20,"compute_ms":10,"exposed_ms":{"pipeline":4},"rest_ms":2,"data_ms":"x"})"));
  const auto mean = mean_parts({*one, *other});
  ASSERT_TRUE(mean);
  EXPECT_NEAR(mean->step_ms, 17.5, 1e-12);
  EXPECT_NEAR(mean->sum(), 17.5, 1e-12) << "what the second leaves unexplained is in rest";
  EXPECT_NEAR((*mean)["rest"], 0.75 * (2 + 4) + 0.25 * 0.25, 1e-12);
  EXPECT_NEAR((*mean)["exposed.pipeline"], 3, 1e-12);
  EXPECT_EQ(mean->ms.front().first, "compute");
  EXPECT_EQ(mean->ms.back().first, "rest");
  EXPECT_FALSE(mean_parts({}));
  for (const char* none : {"3", "{}", "null", R"({"step_ms":0})", R"({"step_ms":null})"})
    EXPECT_FALSE(read_parts(nlohmann::json::parse(none))) << none;
}

TEST_F(RunRecord, TheLastErrorIsTold) {
  write("log", "trireme: error: first\nnote: x\ntrireme: error: rank 1: second\nand more\n");
  EXPECT_EQ(last_error_in((folder_ / "log").string()), "rank 1: second");
  EXPECT_EQ(last_error_in((folder_ / "none").string()), "");
}

}  // namespace
}  // namespace trireme::launch
