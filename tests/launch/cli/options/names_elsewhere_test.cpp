#include "launch/cli/options/names_elsewhere.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options_page.h"
#include "launch/cli/run_arguments.h"
#include "runtime/base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

TEST(NamesElsewhere, EachStandsForAnOptionAndIsNoneItself) {
  std::set<std::string> keys, taken;
  for (const Option& option : all_options()) {
    keys.insert(option.key());
    if (!option.alias.empty()) taken.insert(option.alias);
  }
  std::set<std::string> seen;
  for (const NameElsewhere& other : names_elsewhere()) {
    EXPECT_TRUE(keys.contains(std::string(other.key))) << other.key;
    EXPECT_FALSE(taken.contains(std::string(other.name))) << other.name;
    std::string dashed(other.name);
    std::ranges::replace(dashed, '_', '-');
    EXPECT_TRUE(seen.insert(dashed).second) << other.name << " stands for two options";
  }
  EXPECT_GT(seen.size(), 100u);
}

TEST(NamesElsewhere, AnswerAWrongOption) {
  EXPECT_EQ(explain_name_elsewhere("num_layers", "--"),
            "; Megatron-LM's --num_layers is --model.layers here");
  EXPECT_EQ(explain_name_elsewhere("parallelism.tensor-parallel-degree", "--"),
            "; torchtitan's --parallelism.tensor-parallel-degree is --parallel.tensor here");
  EXPECT_EQ(explain_name_elsewhere("model.layers", "--"), "");
  EXPECT_EQ(explain_name_elsewhere("n_layer", ""), "; nanoGPT's n_layer is model.layers here");
  EXPECT_EQ(explain_name_elsewhere("train-samples", "--"),
            "; nearest to Megatron-LM's --train-samples is --train.steps, which counts otherwise");
  const std::vector<std::string> args = {"--data.text", "x",        "--tensor-model-parallel-size",
                                         "2",           "--n_embd", "64"};
  try {
    parse_run_arguments({"train", all_options(), {}, true}, args, 2);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("Megatron-LM's --tensor-model-parallel-size is --parallel.tensor here"));
    EXPECT_THAT(error.what(), HasSubstr("nanoGPT's --n_embd is --model.hidden here"));
  }
}

/// Without dashes, which are the command line's.
TEST(NamesElsewhere, AnswerAKeyOfAFileOrADict) {
  const test::TemporaryFolder folder;
  folder.write("run.ini", "n_layer = 2\n[data]\ntext = x\n[optimizer]\nlr-warmup-fraction = 0.1\n");
  ArgumentRules rules{"train", all_options(), {}, true};
  const std::vector<std::string> in_file = {"--config", folder.path("run.ini")};
  test::expect_error(
      ExitCode::usage,
      {"run.ini:1: n_layer is not an option of trireme train; nanoGPT's n_layer is model.layers",
       "run.ini:5: optimizer.lr-warmup-fraction is not an option of trireme train; nearest to "
       "Megatron-LM's lr-warmup-fraction is optimizer.warmup, which counts otherwise"},
      [&] { parse_run_arguments(rules, in_file, 1); });
  rules.given_by = "config";
  const std::vector<std::string> in_dict = {"--data.text=x", "--n_layer=2"};
  test::expect_error(
      ExitCode::usage,
      {"config: n_layer is not an option of trireme train; nanoGPT's n_layer is model.layers here"},
      [&] { parse_run_arguments(rules, in_dict, 1); });
}

TEST(OptionsPage, DocsHaveIt) {
  std::ifstream file(test::source_folder() + "/docs/options.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(text.str() == options_page()) << "build/trireme info --options > docs/options.md";
}

}  // namespace
}  // namespace trireme::launch
