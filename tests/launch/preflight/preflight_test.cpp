#include "launch/preflight/preflight.h"

#include <gmock/gmock.h>

#include "launch/config/complete_config.h"
#include "launch/config/memory_inputs.h"
#include "models/families/presets.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

RunConfig run_of(int pipeline, int data) {
  RunConfig config;
  config.model = find_preset("gpt2-124m")->config;
  config.data.text = "a.txt";
  config.run.device = DeviceKind::cpu;
  config.parallel.pipeline = pipeline;
  config.parallel.data = data;
  EXPECT_THAT(complete(config, {}, pipeline * data, true), IsEmpty());
  return config;
}

TEST(MemoryFault, ComparesTheRanksOfAHostWithWhatThereIs) {
  const RunConfig config = run_of(1, 2);
  const int64_t one = estimate_memory(memory_inputs(config, 1)).total();
  EXPECT_EQ(memory_error(config, 1, 2, {2 * one, "this machine"}), "");
  EXPECT_THAT(
      memory_error(config, 1, 2, {2 * one - 1, "the control group /job"}),
      AllOf(HasSubstr("the 2 ranks here are predicted to need"), HasSubstr("the control group /job has"),
            HasSubstr("--train.recompute"), HasSubstr("--run.check-memory off")));
  EXPECT_EQ(memory_error(config, 1, 1, {one, "the device"}), "");
  EXPECT_EQ(memory_error(config, 1, 2, {0, ""}), "") << "not known";
  RunConfig unchecked = config;
  unchecked.run.check_memory = false;
  EXPECT_EQ(memory_error(unchecked, 1, 2, {1, "this machine"}), "");
}

TEST(MemoryFault, StagesOfOneHostAreAddedUp) {
  const RunConfig config = run_of(4, 1);
  const MemoryInputs inputs = memory_inputs(config, 1);
  const int64_t together = estimate_stages_together(inputs), largest = estimate_memory(inputs).total();
  EXPECT_LT(together, 4 * largest);
  EXPECT_GT(together, largest);
  EXPECT_EQ(memory_error(config, 1, 4, {together, "this machine"}), "");
  EXPECT_NE(memory_error(config, 1, 4, {together - 1, "this machine"}), "");
  EXPECT_NE(memory_error(config, 1, 2, {2 * largest - 1, "this machine"}), "") << "it may be any two";
}

TEST(MemoryFault, CopiesOfGpuRanksCountAgainstTheirHost) {
  const RunConfig config = run_of(1, 2);
  constexpr int64_t kCopy = int64_t{3} << 30;
  EXPECT_EQ(snapshot_memory_error(config, 2, {2 * kCopy, "this machine"}, kCopy), "");
  EXPECT_THAT(snapshot_memory_error(config, 2, {2 * kCopy - 1, "this machine"}, kCopy),
              AllOf(HasSubstr("the 2 ranks here need 6.00 GiB of pinned memory"),
                    HasSubstr("this machine has 6.00 GiB left"), HasSubstr("--checkpoint.keep 0")));
  EXPECT_THAT(snapshot_memory_error(config, 1, {1, "this machine"}, kCopy), HasSubstr("the rank here needs"));
  EXPECT_EQ(snapshot_memory_error(config, 2, {0, ""}, kCopy), "") << "not known";
  RunConfig unchecked = config;
  unchecked.run.check_memory = false;
  EXPECT_EQ(snapshot_memory_error(unchecked, 2, {1, "this machine"}, kCopy), "");
}

TEST(CheckRoom, RefusesWhatNoDiskHolds) {
  const test::TemporaryFolder folder;
  check_room(folder.path(), 1);
  try {
    check_room(folder.path(), int64_t{1} << 60);
    FAIL() << "2^60 bytes fit";
  } catch (const EnvironmentError& error) {
    EXPECT_EQ(error.code(), ExitCode::resources);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("model.safetensors"), HasSubstr("--run.dir")));
  }
}

}  // namespace
}  // namespace trireme::launch
