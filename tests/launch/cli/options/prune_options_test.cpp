// Options of pruning: what they stand for, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/config/memory_inputs.h"
#include "launch/report/banner.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Args = std::vector<std::string>;

RunConfig parsed(Args args) {
  args.insert(args.begin(), {"--data.text", "a.txt", "--model.preset", "gpt2-3m"});
  return parse_run_arguments({"train", all_options(), {"dry-run"}, true}, args, 1).config;
}

std::string fault_of(const Args& args) {
  try {
    parsed(args);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "no fault";
}

TEST(PruneOptions, SayHowMuchOfWhatGoesWhen) {
  const RunConfig config = parsed({"--prune.sparsity", "29%", "--prune.unit", "kv-group", "--prune.budget",
                                   "global", "--prune.start-step", "10", "--prune.end-step", "90",
                                   "--prune.every", "20", "--prune.skip", "layers.0.*,*.down.weight"});
  const PruneConfig& p = config.prune;
  EXPECT_EQ(p, (PruneConfig{.sparsity = 0.29,
                            .unit = PruneUnit::kv_group,
                            .budget = PruneBudget::global,
                            .start_step = 10,
                            .end_step = 90,
                            .every = 20,
                            .skip = {"layers.0.*", "*.down.weight"}}));
  EXPECT_THAT(banner(config, {}), HasSubstr("29 % of the key-value heads of the model, from update 10 to 90, "
                                            "every 20; not layers.0.*, *.down.weight"));
  EXPECT_EQ(parsed({"--prune.sparsity", "0.29"}).prune.sparsity, 0.29);
  const RunConfig pattern = parsed({"--prune.pattern", "2:4"});
  EXPECT_EQ(pattern.prune.zeros, 2);
  EXPECT_EQ(pattern.prune.of, 4);
  EXPECT_TRUE(pattern.prune.is_scheduled());
  EXPECT_THAT(banner(pattern, {}), HasSubstr("2 of every 4 inputs of each matrix, at once after 0 updates"));
  EXPECT_TRUE(parsed({"--prune.keep-zeros", "on", "--model.init-from", "w.safetensors"}).prune.keeps_zeros);
}

TEST(PruneOptions, CannotBeAnything) {
  for (const char* part : {"100%", "1", "-1%", "half", "%"})
    EXPECT_THAT(fault_of({"--prune.sparsity", part}), HasSubstr("a part from 0 up to, not including, 1"))
        << part;
  for (const char* pattern : {"4:2", "2", "2:", ":4", "0:4", "2:129", "2:4:8"})
    EXPECT_THAT(fault_of({"--prune.pattern", pattern}), HasSubstr("N zeros of every M")) << pattern;
  const auto fault = [](Args more) {
    more.insert(more.begin(), {"--prune.sparsity", "50%"});
    return fault_of(more);
  };
  EXPECT_THAT(fault({"--prune.pattern", "2:4"}), HasSubstr("prune.sparsity 0.5 and prune.pattern 2:4"));
  EXPECT_THAT(fault_of({"--prune.pattern", "2:4", "--prune.unit", "head"}), HasSubstr("--prune.unit weight"));
  EXPECT_THAT(fault({"--prune.unit", "neuron", "--prune.budget", "output"}),
              HasSubstr("prune.budget output"));
  EXPECT_THAT(fault({"--prune.start-step", "9"}), HasSubstr("give --prune.end-step 9"));
  EXPECT_THAT(fault({"--prune.end-step", "11", "--train.steps", "10"}), HasSubstr("give 10 or fewer"));
  EXPECT_THAT(fault({"--prune.skip", "*.gate.weight"}), HasSubstr("prune.skip *.gate.weight: no matrix"));
  EXPECT_THAT(fault({"--prune.skip", "layers.*"}), HasSubstr("leaves no matrix to prune"));
  EXPECT_THAT(fault_of({"--prune.sparsity", "10%", "--prune.unit", "head"}), HasSubstr("none would go"));
  EXPECT_THAT(fault_of({"--prune.pattern", "2:100", "--model.hidden", "64", "--model.heads", "4"}),
              HasSubstr("has 64 inputs, fewer than a group"));
  EXPECT_THAT(fault_of({"--prune.every", "5"}), HasSubstr("it belongs to --prune.sparsity"));
  EXPECT_THAT(fault_of({"--prune.keep-zeros", "on"}), HasSubstr("--model.init-from"));
}

// A byte for each weight, and for each bias where units take theirs along.
TEST(PruneOptions, MasksAreAmongTheMemoryThatIsPredicted) {
  const auto optimizer = [](const Args& args) {
    return estimate_memory(memory_inputs(parsed(args), 1))[MemoryCategory::optimizer];
  };
  const int64_t dense = optimizer({}), weights = optimizer({"--prune.sparsity", "50%"}),
                units = optimizer({"--prune.sparsity", "50%", "--prune.unit", "neuron"});
  EXPECT_NEAR(static_cast<double>(weights) / static_cast<double>(dense), 1.125, 0.005);
  EXPECT_GT(units, weights);
  EXPECT_LT(units, weights + weights / 50);
}

}  // namespace
}  // namespace trireme::launch
