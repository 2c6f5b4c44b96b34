#include "launch/report/files/run_directory.h"

#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>

#include "launch/report/files/tfrecord.h"
#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

StepMetrics some_step() {
  return {.step = 3,
          .time = 1.5e9,
          .tokens = 300,
          .loss = 4.25,
          .grad_norm = 1.5,
          .lr = 6e-4,
          .step_ms = 12.5,
          .comm_wait_ms = 2.5,
          .data_wait_ms = 0.5,
          .core_wait_ms = 0.25,
          .checkpoint_wait_ms = 7.5,
          .tok_s = 8000,
          .tflops = 0.25,
          .mfu = 0.22,
          .peak_tflops = 1.125,
          .is_mfu_sure = false,
          .mem_bytes = 1 << 20,
          .reserved_bytes = 2 << 20,
          .val_loss = std::nullopt};
}

class RunDirectoryTest : public testing::Test {
 protected:
  RunDirectoryTest()
      : root_(
            fs::path(testing::TempDir()) /
            (std::string("run_directory_") + testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~RunDirectoryTest() override { fs::remove_all(root_); }

  fs::path root_;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::resources);
    return error.what();
  }
  return "no error";
}

TEST_F(RunDirectoryTest, NamesComeFromModelAndData) {
  RunConfig config;
  config.model.name = "gpt2-3m";
  config.data.text = "books/bible.txt";
  EXPECT_EQ(wanted_directory(config), "runs/gpt2-3m-bible");
  config.model.name = "custom";
  EXPECT_EQ(wanted_directory(config), "runs/gpt2-12x768-bible");
  config.run.dir = "elsewhere/x";
  EXPECT_EQ(wanted_directory(config), "elsewhere/x");
}

TEST_F(RunDirectoryTest, AnExistingNameGetsANumber) {
  EXPECT_EQ(RunDirectory(root_ / "a" / "run", "x").path(), root_ / "a" / "run");
  EXPECT_EQ(RunDirectory(root_ / "a" / "run", "y").path(), root_ / "a" / "run-2");
  EXPECT_EQ(RunDirectory(root_ / "a" / "run/", "z").path(), root_ / "a" / "run-3");
  EXPECT_EQ(content(root_ / "a" / "run" / "config.ini"), "x");
  EXPECT_EQ(content(root_ / "a" / "run-2" / "config.ini"), "y");
  std::ofstream(root_ / "file") << "in the way";
  EXPECT_EQ(RunDirectory(root_ / "file", "").path(), root_ / "file-2");
}

TEST_F(RunDirectoryTest, MetricsAreOneObjectALine) {
  RunDirectory run(root_ / "run", "");
  StepMetrics metrics = some_step();
  run.write(metrics);
  metrics.step = 4;
  metrics.val_loss = 2.5;
  metrics.loss = std::numeric_limits<double>::quiet_NaN();
  metrics.loss_scale = 32768;
  metrics.skipped = true;
  metrics.skips = 2;
  metrics.checkpoints_skipped = 1;
  metrics.grad_norm_z = -4.5;
  run.write(metrics);
  std::istringstream lines(content(run.path() / "metrics.jsonl"));
  std::string first, second;
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_EQ(
      first,
      R"({"step":3,"time":1500000000.0,"tokens":300,"loss":4.25,"grad_norm":1.5,"lr":0.0006,"step_ms":12.5,"comm_wait_ms":2.5,"data_wait_ms":0.5,"core_wait_ms":0.25,"checkpoint_wait_ms":7.5,)"
      R"("tok_s":8000.0,"tflops":0.25,"mfu":0.22,"mfu_sure":false,"peak_tflops":1.125,"mem_bytes":1048576,"reserved_bytes":2097152,"loss_scale":1.0,"skips":0})");
  const auto parsed = parse_json(second, "metrics");
  EXPECT_EQ(parsed["val_loss"], 2.5);
  EXPECT_TRUE(parsed["loss"].is_null());
  EXPECT_EQ(parsed["loss_scale"], 32768);
  EXPECT_EQ(parsed["skipped"], true);
  EXPECT_EQ(parsed["skips"], 2);
  EXPECT_EQ(parsed["checkpoints_skipped"], 1);
  EXPECT_EQ(parsed["grad_norm_z"], -4.5);
  EXPECT_FALSE(parsed.contains("loss_z"));
}

TEST_F(RunDirectoryTest, TheSlowestRankOfALogWindowIsInTheMetrics) {
  StepMetrics metrics = some_step();
  EXPECT_FALSE(parse_json(to_json_line(metrics), "metrics").contains("slowest_rank"));
  metrics.slowest_rank = 3;
  metrics.slowest_ratio = 1.5;
  metrics.is_straggler = true;
  const auto parsed = parse_json(to_json_line(metrics), "metrics");
  EXPECT_EQ(parsed["slowest_rank"], 3);
  EXPECT_EQ(parsed["slowest_ratio"], 1.5);
  EXPECT_EQ(parsed["straggler"], true);
}

StepBreakdown some_breakdown() {
  StepBreakdown b;
  b.steps = 10;
  b.step_ms = 20;
  b.compute_ms = 12;
  b.exposed_ms = {{"data", 2.5}, {"tensor", 0}};
  b.imbalance_ms = 4;
  b.optimizer_ms = 1;
  b.rest_ms = 0.5;
  return b;
}

TEST_F(RunDirectoryTest, WhereTheTimeOfAWindowWentIsInTheMetrics) {
  StepMetrics metrics = some_step();
  EXPECT_FALSE(parse_json(to_json_line(metrics), "metrics").contains("breakdown"));
  metrics.breakdown = some_breakdown();
  EXPECT_THAT(
      to_json_line(metrics),
      HasSubstr(
          R"("breakdown":{"steps":10,"step_ms":20.0,"compute_ms":12.0,"exposed_ms":{"data":2.5,"tensor":0.0},)"
          R"("bubble_ms":0.0,"data_ms":0.0,"imbalance_ms":4.0,"optimizer_ms":1.0,"checkpoint_ms":0.0,)"
          R"("rest_ms":0.5})"));
}

TEST_F(RunDirectoryTest, RanksHaveAFileThatARunThatIsResumedGoesOnWith) {
  StepMetrics metrics = some_step();
  const fs::path path = root_ / "run";
  {
    RunDirectory run(path, "");
    run.write(metrics);
    EXPECT_FALSE(fs::exists(path / "ranks.jsonl")) << "one rank alone";
    metrics.ranks = {{1.5, 2}, {0.5, 0}, {0.5, 0.25}, {1000, 2000}};
    for (metrics.step = 10; metrics.step <= 30; metrics.step += 10) run.write(metrics);
  }
  const std::string tail =
      R"("time":1500000000.0,"compute_ms":[1.5,2.0],"wait_ms":[0.5,0.0],"imbalance_ms":[0.5,0.25],"mem_bytes":[1000,2000]})"
      "\n";
  RunDirectory resumed(path, "", 20);
  EXPECT_EQ(content(path / "ranks.jsonl"), "{\"step\":10," + tail + "{\"step\":20," + tail);
  metrics.step = 30;
  resumed.write(metrics);
  EXPECT_EQ(content(path / "ranks.jsonl"),
            "{\"step\":10," + tail + "{\"step\":20," + tail + "{\"step\":30," + tail);
}

TEST_F(RunDirectoryTest, AMixturesMetricsHaveItsRoutersAndTheBytesOfTheirRows) {
  StepMetrics metrics = some_step();
  EXPECT_FALSE(parse_json(to_json_line(metrics), "metrics").contains("dispatch_bytes"));
  metrics.routers.push_back({.layer = 2, .load = {0.75, 0.25}, .imbalance = 1.5});
  metrics.aux_loss = 0.125;
  metrics.dispatch_bytes = 4096;
  const auto parsed = parse_json(to_json_line(metrics), "metrics");
  EXPECT_EQ(parsed["dispatch_bytes"], 4096);
  EXPECT_EQ(parsed["aux_loss"], 0.125);
  EXPECT_EQ(parsed["experts"][0]["imbalance"], 1.5);
}

TEST_F(RunDirectoryTest, PeaksOfALogWindowAreInTheMetricsByCategory) {
  StepMetrics metrics = some_step();
  EXPECT_FALSE(parse_json(to_json_line(metrics), "metrics").contains("memory"));
  metrics.memory = {1, 2, 3, 4, 5};
  EXPECT_THAT(to_json_line(metrics),
              HasSubstr(R"("memory":{"weights":1,"gradients":2,"optimizer":3,"activations":4,"buffers":5})"));
}

TEST_F(RunDirectoryTest, EventsAreLinesAndOfLaterStepsThoseOfTheAttemptStay) {
  const fs::path path = root_ / "run";
  {
    RunDirectory run(path, "");
    run.add({1.5, 0, EventKind::start, "a \"b\"\n\xff",
             StartFacts{.version = "v", .ranks = 2, .layout = "data 2", .predicted_bytes = 7}});
    run.add({2.5, 4, EventKind::checkpoint, "late"});
    run.add({3.5, 4, EventKind::stop, "killed"});
  }
  EXPECT_THAT(
      content(path / "events.jsonl"),
      HasSubstr(R"({"time":1.5,"step":0,"kind":"start","text":"a \"b\"\n�","version":"v","ranks":2,)"));
  RunDirectory(path, "", 3).add({4.5, 3, EventKind::resume, "again"});
  const std::string text = content(path / "events.jsonl");
  EXPECT_THAT(text, testing::Not(HasSubstr("late")));
  EXPECT_THAT(text, AllOf(HasSubstr("killed"), HasSubstr("again")));
}

TEST_F(RunDirectoryTest, LogLines) {
  RunDirectory run(root_ / "run", "");
  run.log("one");
  run.log("two");
  EXPECT_EQ(content(run.path() / "log.txt"), "one\ntwo\n");
}

TEST_F(RunDirectoryTest, EventsAreIntactRecords) {
  RunDirectory run(root_ / "run", "");
  run.write(some_step());
  std::string bytes;
  for (const auto& entry : fs::directory_iterator(run.path())) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) bytes = content(entry.path());
  }
  int records = 0;
  while (!bytes.empty()) {
    const auto size =
        static_cast<unsigned char>(bytes.at(0)) + 256u * static_cast<unsigned char>(bytes.at(1));
    const std::string payload = bytes.substr(12, size);
    ASSERT_EQ(bytes.substr(0, size + 16), tfrecord(payload));
    EXPECT_THAT(payload, HasSubstr(records == 0 ? "brain.Event:2" : "loss/train"));
    bytes.erase(0, size + 16);
    ++records;
  }
  EXPECT_EQ(records, 2);
}

TEST_F(RunDirectoryTest, AParentThatIsAFile) {
  std::ofstream(root_ / "file") << "x";
  EXPECT_THAT(error_of([&] { RunDirectory(root_ / "file" / "run", ""); }),
              AllOf(HasSubstr((root_ / "file").string()), HasSubstr("Not a directory")));
}

TEST_F(RunDirectoryTest, ADirectoryThatCannotBeMade) {
  EXPECT_THAT(error_of([] { RunDirectory("/proc/trireme-run", ""); }),
              HasSubstr("/proc/trireme-run: cannot be created"));
}

TEST_F(RunDirectoryTest, TheStateBeforeTheFirstStepIsItsEvaluation) {
  StepMetrics before;
  before.time = 1.5;
  before.val_loss = 5.25;
  EXPECT_EQ(to_json_line(before), R"({"step":0,"time":1.5,"tokens":0,"val_loss":5.25})");
}

TEST_F(RunDirectoryTest, ADirectoryThatHasDisappearedIsMadeAnew) {
  RunDirectory run(root_ / "run", "x = 1\n");
  run.log("lost");
  EXPECT_FALSE(run.restore());
  fs::remove_all(run.path());
  EXPECT_TRUE(run.restore());
  run.log("kept");
  EXPECT_EQ(content(run.path() / "log.txt"), "kept\n");
  EXPECT_EQ(content(run.path() / "config.ini"), "x = 1\n");
  fs::remove_all(run.path());
  std::ofstream(run.path()) << "in the way";
  EXPECT_THAT(error_of([&] { run.restore(); }), HasSubstr("cannot be created"));
}

TEST_F(RunDirectoryTest, AFullDisk) {
  AppendFile full("/dev/full");
  EXPECT_THAT(error_of([&] { full.write("x"); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left on device")));
}

}  // namespace
}  // namespace trireme::launch
