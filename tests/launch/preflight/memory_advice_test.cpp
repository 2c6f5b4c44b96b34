#include "launch/preflight/memory_advice.h"

#include <sstream>

#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/config/complete_config.h"
#include "launch/config/memory_inputs.h"
#include "models/cost/memory_estimate.h"
#include "models/families/presets.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

RunConfig large_run(int world_size) {
  RunConfig config;
  config.model = find_preset("gpt2-124m")->config;
  config.train.micro_batch = 16;
  config.train.global_batch = 64;
  EXPECT_THAT(complete(config, {}, world_size, false), IsEmpty());
  return config;
}

int64_t predicted(const RunConfig& config) { return estimate_memory(memory_inputs(config, 1)).total(); }

TEST(MemoryAdvice, OffersWhatFitsFirst) {
  const RunConfig config = large_run(4);
  RunConfig half = config;
  half.train.micro_batch = 8;
  const std::string advice = memory_advice(config, 1, predicted(half));
  EXPECT_THAT(advice, HasSubstr("predicted per rank: --train.micro-batch 8 ("));
  EXPECT_THAT(advice, MatchesRegex(".*--train.micro-batch 8 \\([0-9.]+ GiB, which fits\\).*"));
  EXPECT_THAT(memory_advice(config, 1, 1), Not(HasSubstr("which fits"))) << "nothing fits a byte";
  EXPECT_THAT(memory_advice(config, 1, 0), Not(HasSubstr("which fits"))) << "not known";
}

TEST(MemoryAdvice, OffersOnlyWhatTheRunCouldDo) {
  EXPECT_THAT(memory_advice(large_run(1), 1, 1), Not(HasSubstr("--parallel.zero"))) << "nothing to divide by";
  EXPECT_THAT(memory_advice(large_run(1), 1, 1), Not(HasSubstr("--tp")));
  RunConfig config = large_run(4);
  config.train.precision = DType::bf16;
  config.train.recomputation = {RecomputeMode::full, 1};
  config.train.micro_batch = 1;
  config.parallel.zero_stage = 3;
  const std::string advice = memory_advice(config, 1, 1);
  EXPECT_THAT(advice, Not(HasSubstr("recompute")));
  EXPECT_THAT(advice, Not(HasSubstr("micro-batch")));
  EXPECT_THAT(advice, HasSubstr("--train.master none"));
}

/// What is offered can be typed as it stands.
TEST(MemoryAdvice, TheCommandLineTakesEveryOffer) {
  RunConfig config = large_run(4);
  for (const DType precision : {DType::f32, DType::bf16}) {
    config.train.precision = precision;
    for (const int64_t size : {16, 1}) {
      config.train.micro_batch = size;
      std::istringstream offers(memory_advice(config, 1, 1));
      std::vector<std::string> args{
          "--data.text",          "a.txt", "--model.preset",    "gpt2-124m",
          "--train.global-batch", "64",    "--train.precision", precision == DType::f32 ? "fp32" : "bf16"};
      const size_t num_common = args.size();
      int num_offers = 0;
      for (std::string word; offers >> word;) {
        if (word.starts_with("--")) args.push_back(word);
        if (args.size() == num_common || word.starts_with("--")) continue;
        if (!word.starts_with("(")) {
          args.push_back(word);
          continue;
        }
        EXPECT_NO_THROW(parse_run_arguments({"train", all_options(), {}, true}, args, 4))
            << fmt::format("{}", fmt::join(args, " "));
        args.resize(num_common);
        ++num_offers;
        while (offers >> word && !word.ends_with(";")) {
        }
      }
      EXPECT_GE(num_offers, 2);
    }
  }
}

TEST(MemoryAdvice, SaysNothingOfAnUnknownVocabulary) {
  RunConfig config = large_run(1);
  config.model.vocab_size = 0;
  config.data.tokenizer = "char";
  EXPECT_EQ(memory_advice(config, 1, 1), "");
}

}  // namespace
}  // namespace trireme::launch
