// The model of --init-from, on command lines and by trireme import.
#include "launch/cli/model_source.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/config_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "models/formats/model_differences.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "tests/models/formats/hf_directory.h"
#include "tests/models/formats/published_configs.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::HfDirectory;
using test::TemporaryFolder;
using Args = std::vector<std::string>;

RunConfig parse(Args args) {
  args.insert(args.begin(), {"--data.text", "a.txt", "--train.seq-len", "16"});
  const ArgumentRules rules{"train", all_options(), {"dry-run"}, true};
  return parse_run_arguments(rules, args, 1).config;
}

void expect_fault(const Args& args, std::initializer_list<std::string_view> parts) {
  expect_error(ExitCode::usage, parts, [&] { parse(args); });
}

TEST(ModelSource, ADirectoryOfTransformersIsTheModel) {
  for (const char* text : test::kPublished) {
    const HfDirectory directory(text);
    SCOPED_TRACE(directory.model.architecture);
    const RunConfig config = parse({"--init-from", directory.folder.path()});
    EXPECT_TRUE(compute_the_same(config.model, directory.model.config))
        << testing::PrintToString(model_differences(config.model, directory.model.config));
    EXPECT_EQ(config.model.max_positions, directory.model.config.max_positions);
    EXPECT_EQ(config.data.tokenizer, "byte");
    // config.ini alone is the same model, with the source or without.
    const std::string ini = directory.folder.write("config.ini", write_config(config));
    EXPECT_EQ(parse({"--config", ini}), config);
    fs::remove(directory.folder.path("config.json"));
    EXPECT_EQ(parse({"--config", ini, "--resume", "auto"}).model, config.model);
  }
}

TEST(ModelSource, OptionsThatContradictAreRefusedTogether) {
  const HfDirectory directory(test::kLlama32);
  const Args from = {"--init-from", directory.folder.path()};
  const auto with = [&](Args more) {
    more.insert(more.begin(), from.begin(), from.end());
    return more;
  };
  EXPECT_EQ(parse(with({"--model.layers", "2", "--model.init-std", "0.5"})).model.init_std, 0.5);
  expect_fault(
      with({"--model.layers", "3", "--model.rotary-theta", "10000"}),
      {"2 errors", "model.layers 3 (there 2)", "model.rotary-theta 10000 (there 500000)", "config.json"});
  expect_fault(with({"--preset", "llama-tiny"}), {"model.hidden 128 (there 64)"});
  const RunConfig upcycled = parse(with({"--moe.experts", "4", "--moe.upcycle"}));
  EXPECT_EQ(upcycled.model.moe.num_experts, 4);
}

TEST(ModelSource, TheTokenizerOfTheDirectoryIsTheRuns) {
  const HfDirectory directory(test::kQwen25);
  ByteTokenizer().save(directory.folder.path("tokenizer.json"));
  const Args from = {"--init-from", directory.folder.path()};
  EXPECT_EQ(parse(from).data.tokenizer, directory.folder.path("tokenizer.json"));
  EXPECT_EQ(parse({"--init-from", directory.folder.path(), "--data.tokenizer", "byte"}).data.tokenizer,
            "byte");
}

TEST(ModelSource, WhatIsNotADescriptionOfAModelGivesNone) {
  const TemporaryFolder folder;
  EXPECT_FALSE(read_model_source(folder.path("nothing"), all_options()));
  EXPECT_FALSE(read_model_source(folder.path(), all_options()));
  folder.write("config.json", R"({"architectures": ["DeepseekV3ForCausalLM"]})");
  expect_error(ExitCode::bad_input, {"DeepseekV3ForCausalLM", "latent"},
               [&] { read_model_source(folder.path(), all_options()); });
}

TEST(ModelSource, AnImportedRunNeedsNoOptions) {
  const HfDirectory directory(test::kGemma3);
  directory.write_one();
  ByteTokenizer().save(directory.folder.path("tokenizer.json"));
  directory.folder.write("LICENSE", "free");
  const TemporaryFolder runs;
  const std::string run = runs.path("run");
  const Args args = {directory.folder.path(), run, "--dtype", "bf16"};
  run_import(args, {});
  EXPECT_EQ(runs.names(), std::vector<std::string>{"run"});
  for (const char* name :
       {"config.ini", "model.safetensors", "tokenizer.json", "source/LICENSE", "source/config.json"})
    EXPECT_TRUE(fs::exists(fs::path(run) / name)) << name;
  const RunConfig config = parse({"--init-from", run});
  EXPECT_TRUE(compute_the_same(config.model, directory.model.config));
  EXPECT_EQ(config.data.tokenizer, run + "/tokenizer.json");
  // What says something of its own is no import's.
  EXPECT_EQ(parse({"--init-from", run, "--preset", "llama-tiny"}).model.hidden_size, 128);
  expect_error(ExitCode::usage, {run, "exists already"}, [&] { run_import(args, {}); });
  expect_error(ExitCode::usage, {"--init-from takes it as it is"}, [&] {
    run_import(Args{run, runs.path("other")}, {});
  });
}

TEST(ModelSource, AnImportThatFailsLeavesNothing) {
  HfDirectory directory(test::kLlama2);
  directory.tensors.erase("model.norm.weight");
  directory.write_one();
  const TemporaryFolder runs;
  expect_error(ExitCode::bad_input, {"model.norm.weight is missing"}, [&] {
    run_import(Args{directory.folder.path(), runs.path("run")}, {});
  });
  EXPECT_TRUE(runs.names().empty());
}

}  // namespace
}  // namespace trireme::launch
