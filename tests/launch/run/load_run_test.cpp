#include "launch/run/load_run.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/config_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

// What a run of 4 ranks leaves, but for the weights themselves.
class LoadRun : public testing::Test {
 protected:
  LoadRun() {
    const std::vector<std::string> args = {
        "--data.text",   "book.txt", "--model.preset",       "gpt2-3m", "--dp", "2", "--tp", "2",
        "--train.steps", "7",        "--train.global-batch", "32"};
    const RunConfig config = parse_run_arguments({"train", all_options(), {}, true}, args, 4).config;
    folder_.write("config.ini", write_config(config));
  }
  void finish() { folder_.write("model.safetensors", "weights"); }
  std::string folder() const { return folder_.path(); }

  test::TemporaryFolder folder_;
};

TEST_F(LoadRun, HasItsConfigurationAndItsWeights) {
  finish();
  const RunConfig config = load_run(folder(), {}, 4);
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_EQ(config.parallel.data, 2);
  EXPECT_EQ(config.parallel.tensor, 2);
  EXPECT_EQ(config.start.file, folder_.path("model.safetensors"));
}

TEST_F(LoadRun, DataParallelRanksAreThoseThatTheOtherDegreesLeave) {
  finish();
  EXPECT_EQ(load_run(folder(), {}, 2).parallel.data, 1);
  const std::vector<std::string> one = {"--tp", "1"}, odd = {"--tp", "3"};
  EXPECT_EQ(load_run(folder(), one, 1).parallel.data, 1);
  EXPECT_THROW(load_run(folder(), odd, 4), UserError);
}

/// Whose global batch, 32 samples in 4 micro-batches of 8, they could not share.
TEST_F(LoadRun, MoreRanksThanTheRunHadTakeAMicroBatchEach) {
  finish();
  const RunConfig config = load_run(folder(), {}, 12);
  EXPECT_EQ(config.parallel.data, 6);
  EXPECT_EQ(config.train.global_batch, 6 * config.train.micro_batch);
  const std::vector<std::string> own = {"--train.global-batch", "96"};
  EXPECT_EQ(load_run(folder(), own, 12).train.global_batch, 96);
}

/// It has its number of micro-batches, of which the global batch is made.
TEST_F(LoadRun, AScheduleOfAFileKeepsTheGlobalBatch) {
  folder_.write("schedule.csv", schedule_text(make_schedule(ScheduleKind::one_f_one_b, 2, 4, 1)));
  const std::vector<std::string> args = {"--data.text",
                                         "book.txt",
                                         "--model.preset",
                                         "gpt2-3m",
                                         "--pp",
                                         "2",
                                         "--parallel.schedule",
                                         folder_.path("schedule.csv"),
                                         "--train.micro-batch",
                                         "2",
                                         "--train.global-batch",
                                         "8"};
  const RunConfig run = parse_run_arguments({"train", all_options(), {}, true}, args, 2).config;
  folder_.write("config.ini", write_config(run));
  finish();
  EXPECT_EQ(load_run(folder(), {}, 2).train.global_batch, 8);
}

TEST_F(LoadRun, FormerNamesOfOptionsAreWarnedOf) {
  finish();
  const std::vector<std::string> former = {"--model.load=old.safetensors"};
  std::vector<std::string> warnings;
  load_run(folder(), former, 4, "config", &warnings);
  EXPECT_THAT(warnings,
              testing::ElementsAre(HasSubstr("config: model.load is the former name of model.init-from")));
}

TEST_F(LoadRun, ADirectoryWithoutWeightsIsNoRunThatHasEnded) {
  try {
    load_run(folder(), {}, 4);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
  }
}

}  // namespace
}  // namespace trireme::launch
