// What run.attention, its workspace and run.deterministic come to in a program with cuDNN and without.
#include "launch/config/attention_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/config/memory_inputs.h"
#include "launch/report/banner.h"
#include "models/families/presets.h"
#include "tests/support/cuda_on_host/attention_library.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

using namespace launch;

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr Device kGpu{DeviceType::cuda, 0};
constexpr int64_t kMib = 1 << 20;

class AttentionChoiceOnHost : public testing::Test {
 protected:
  AttentionChoiceOnHost() { cuda_on_host::cudnn().is_built = true; }
  ~AttentionChoiceOnHost() override { cuda_on_host::cudnn() = before_; }

  static RunConfig parse(std::vector<std::string> args) {
    args.insert(args.begin(), {"--data.text", "a", "--preset", "gpt2-124m", "--train.precision", "bf16"});
    return parse_run_arguments({"train", all_options(), {}, true}, args, 1).config;
  }
  static void expect_fault(const std::vector<std::string>& args,
                           std::initializer_list<std::string_view> parts) {
    expect_error(ExitCode::usage, parts, [&] { parse(args); });
  }

 private:
  const cuda_on_host::Cudnn before_ = cuda_on_host::cudnn();
};

TEST_F(AttentionChoiceOnHost, OptionsBecomeSettings) {
  RunConfig config = parse({});
  OpSettings settings = choose_op_settings(config.run, kGpu);
  EXPECT_EQ(settings.attention, AttentionChoice::automatic);
  EXPECT_EQ(settings.attention_workspace, 256 * kMib);
  EXPECT_TRUE(settings.deterministic);
  EXPECT_EQ(attention_text(config.run, why_no_cudnn(config)),
            "cuDNN 0.0.0 where it can, with at most 256 MiB of workspace, else own kernels; deterministic");
  config = parse(
      {"--run.attention", "cudnn", "--run.attention-workspace-mib", "8192", "--run.deterministic", "off"});
  settings = choose_op_settings(config.run, kGpu);
  EXPECT_EQ(settings.attention, AttentionChoice::cudnn);
  EXPECT_EQ(settings.attention_workspace, 8192 * kMib);
  EXPECT_FALSE(settings.deterministic);
  EXPECT_EQ(attention_text(config.run, why_no_cudnn(config)),
            "cuDNN 0.0.0, with at most 8192 MiB of workspace; not deterministic");
  config = parse({"--run.attention", "own"});
  EXPECT_EQ(choose_op_settings(config.run, kGpu).attention, AttentionChoice::own);
  expect_error(ExitCode::usage, {"run.attention own", "leave it out"},
               [&] { choose_op_settings(config.run, {}); });
  EXPECT_EQ(attention_text(config.run, why_no_cudnn(config)), "own kernels, deterministic");
  config = parse({"--train.precision", "fp32"});
  EXPECT_EQ(attention_text(config.run, why_no_cudnn(config)),
            "own kernels (cuDNN attention has no fp32), deterministic");
  config = parse({"--model.window", "64"});
  EXPECT_EQ(attention_text(config.run, why_no_cudnn(config)),
            "own kernels (cuDNN attention is not used with sliding windows), deterministic");
  config = parse({"--model.window", "64", "--model.window-pattern", "2"});  // it serves every other block
  EXPECT_THAT(attention_text(config.run, why_no_cudnn(config)), HasSubstr("where it can"));
}

TEST_F(AttentionChoiceOnHost, WhatCudnnCannotServeIsRefusedBeforeTheRun) {
  expect_fault({"--run.attention", "cudnn", "--run.device", "cpu"},
               {"run.attention cudnn: run.device is cpu"});
  expect_fault({"--run.attention", "cudnn", "--train.precision", "fp32"}, {"run.attention cudnn", "no fp32"});
  expect_fault({"--run.attention", "cudnn", "--model.heads", "4"}, {"head sizes 8, 16, ... 128"});
  expect_fault({"--run.attention", "cudnn", "--model.window", "64", "--model.window-pattern", "2"},
               {"run.attention cudnn", "not used with sliding windows (model.window)"});
  expect_error(ExitCode::usage, {"run.attention cudnn", "more keys than queries"}, [] {
    parse_run_arguments({"train", all_options(), {}, false},
                        std::vector<std::string>{"--preset", "gpt2-124m", "--train.precision", "bf16", "--cp",
                                                 "2", "--run.attention", "cudnn"},
                        2);
  });
}

TEST_F(AttentionChoiceOnHost, OptionsWithoutEffectAreRefused) {
  const std::vector<std::string> any_order = {"--run.deterministic", "off"},
                                 workspace = {"--run.attention-workspace-mib", "64"};
  for (std::vector<std::string> args : {any_order, workspace}) {
    EXPECT_NO_THROW(parse(args));
    const std::string key = args[0].substr(2);
    args.insert(args.end(), {"--run.attention", "own"});
    expect_fault(args, {key + " has no effect", "run.attention is own"});
    args[2] = "--run.device", args[3] = "cpu";
    expect_fault(args, {key + " has no effect", "run.device is cpu"});
    args[2] = "--train.precision", args[3] = "fp32";
    expect_fault(args, {key + " has no effect", "no fp32"});
  }
  EXPECT_NO_THROW(parse({"--run.deterministic", "on", "--run.device", "cpu"}));
  // What is known only where the run is.
  for (const auto& args : {any_order, workspace, {"--run.attention", "cudnn"}}) {
    const RunConfig config = parse(args);
    EXPECT_NO_THROW(choose_op_settings(config.run, kGpu));
    expect_error(ExitCode::usage, {args[0].substr(2), args[1], "this run has no GPU"},
                 [&] { choose_op_settings(config.run, {}); });
  }
}

TEST_F(AttentionChoiceOnHost, WithoutCudnnOwnKernelsAreAllThereIs) {
  cuda_on_host::cudnn().is_built = false;
  const std::string_view why = "this program is built without cuDNN";
  expect_fault({"--run.attention", "cudnn"}, {"run.attention cudnn", why, "use auto"});
  expect_fault({"--run.deterministic", "off"},
               {"run.deterministic has no effect", "own kernels always are", why});
  expect_fault({"--run.attention-workspace-mib", "64"}, {"run.attention-workspace-mib has no effect", why});
  RunOptions forced;
  forced.attention = AttentionChoice::cudnn;
  expect_error(ExitCode::usage, {"run.attention cudnn", why}, [&] { choose_op_settings(forced, kGpu); });
  for (const char* choice : {"auto", "own"}) {
    const RunConfig config = parse({"--run.attention", choice});
    EXPECT_NO_THROW(choose_op_settings(config.run, kGpu));
    EXPECT_THAT(
        attention_text(config.run, why_no_cudnn(config)),
        AllOf(HasSubstr("own kernels"), HasSubstr("deterministic"), Not(HasSubstr("not deterministic"))));
  }
  EXPECT_EQ(attention_text({}, why_no_cudnn(parse({}))),
            "own kernels (this program is built without cuDNN), deterministic");
}

TEST_F(AttentionChoiceOnHost, TheBannerSaysWhatIsInForce) {
  const RunConfig config = parse({});
  RunPlace place;
  EXPECT_THAT(banner(config, place), Not(HasSubstr("\n  attention ")));
  place.attention = attention_text(config.run, why_no_cudnn(config));
  EXPECT_THAT(banner(config, place), HasSubstr("\n"
                                               "  attention  cuDNN 0.0.0 where it can"));
}

/// GPT-2 124M, micro-batches of 16 x 1024: 384 MiB for each score's gradient, 48 MiB for those of queries.
TEST_F(AttentionChoiceOnHost, TheWorkspaceIsPredictedWhereCudnnMayServe) {
  const auto buffers = [](std::vector<std::string> args) {
    args.insert(args.end(), {"--train.micro-batch", "16", "--train.global-batch", "16"});
    return estimate_memory(memory_inputs(parse(args), 1))[MemoryCategory::buffers];
  };
  const int64_t own = buffers({"--run.attention", "own"});
  EXPECT_LT(own, 32 * kMib);
  EXPECT_EQ(buffers({"--run.device", "cpu"}), own);
  EXPECT_EQ(buffers({"--train.precision", "fp32", "--run.attention", "own"}),
            buffers({"--train.precision", "fp32"}));
  constexpr int64_t kScores = 16 * 12 * 1024 * 1024 * int64_t{2}, kQueries = 16 * 12 * 1024 * 64 * int64_t{4},
                    kRows = 16 * 12 * 1024 * 4;
  const int64_t lasting = buffers({"--run.attention-workspace-mib", "512"}) - kScores - kRows;
  EXPECT_THAT(lasting, AllOf(testing::Ge(0), testing::Lt(kMib))) << "ids and targets";
  EXPECT_EQ(buffers({}), lasting + kQueries + kRows)
      << "beyond the limit, at most what cuDNN takes in another way";
  EXPECT_EQ(buffers({"--run.deterministic", "off"}), lasting + kQueries + kRows);
  EXPECT_EQ(buffers({"--run.deterministic", "off", "--run.attention-workspace-mib", "40"}),
            lasting + 40 * kMib);
  cuda_on_host::cudnn().is_built = false;
  EXPECT_EQ(buffers({}), own);
}

}  // namespace
}  // namespace trireme::test
