// In any layout all ranks write one rank's texts, with logits within rounding of its own.
#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/heard_texts.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;

struct NamedPlan {
  std::string name;
  ParallelPlan plan;
};

std::vector<NamedPlan> plans() {
  using enum ScheduleKind;
  return {{"tensor2", {.data = 1, .tensor = 2}},
          {"tensor2_sequence", {.data = 1, .tensor = 2, .sequence = true, .tensor_chunks = 2}},
          {"tensor4", {.data = 1, .tensor = 4}},
          {"pipeline2", {.data = 1, .pipeline = 2}},
          {"pipeline4", {.data = 1, .pipeline = 4}},
          {"virtual2x2", {.data = 1, .pipeline = 2, .schedule = interleaved, .virtual_stages = 2}},
          {"virtual2x3", {.data = 1, .pipeline = 2, .schedule = interleaved, .virtual_stages = 3}},
          {"data2_zero1", {.data = 2, .zero_stage = 1}},
          {"data2_zero2_tensor2", {.data = 2, .tensor = 2, .zero_stage = 2}},
          {"data2_zero3", {.data = 2, .zero_stage = 3, .bucket_mib = 0.01}},
          {"data2_zero3_pipeline2", {.data = 2, .pipeline = 2, .zero_stage = 3}},
          {"data2_zero3_tensor2_sequence", {.data = 2, .tensor = 2, .zero_stage = 3, .sequence = true}},
          {"data4_zero3_shard2", {.data = 4, .zero_stage = 3, .shard = 2}},
          {"pipeline2_tensor2", {.data = 1, .tensor = 2, .pipeline = 2}},
          {"virtual2x2_tensor2",
           {.data = 1, .tensor = 2, .pipeline = 2, .schedule = interleaved, .virtual_stages = 2}}};
}

std::vector<NamedPlan> plans_with_experts() {
  using enum ScheduleKind;
  return {
      {"experts2", {.data = 2, .expert = 2}},
      {"experts4", {.data = 4, .expert = 4}},
      {"experts2_of_data4", {.data = 4, .expert = 2}},
      {"experts2_chunks2", {.data = 2, .expert = 2, .expert_chunks = 2}},
      {"experts2_tensor2", {.data = 2, .tensor = 2, .expert = 2}},
      {"experts2_whole_tensor2", {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1}},
      {"experts4_whole_tensor2", {.data = 2, .tensor = 2, .expert = 4, .expert_tensor = 1, .sequence = true}},
      {"experts2_pipeline2", {.data = 2, .pipeline = 2, .expert = 2}},
      {"experts2_zero3", {.data = 2, .expert = 2, .zero_stage = 3}},
      {"experts2_virtual2x2_tensor2",
       {.data = 2, .tensor = 2, .pipeline = 2, .expert = 2, .schedule = interleaved, .virtual_stages = 2}}};
}

struct LayoutCase {
  NamedModel model;
  NamedPlan plan;
};
void PrintTo(const LayoutCase& c, std::ostream* out) { *out << c.model.name << " " << c.plan.name; }

struct Generated {
  std::vector<float> logits;
  Texts texts;
  std::vector<HeardText> heard;  // on the first rank
};

// Logits of two sequences, one in two chunks; then texts, with blocks that run out.
Generated run(Communicator& world, const ParallelPlan& plan, const ModelConfig& config,
              const std::string& weights) {
  CachedRank rank(world, plan, config, weights, {.num_blocks = 7, .block_tokens = 16});
  Generated out;
  const auto long_text = some_text(config.vocab_size, 45, 8), short_text = some_text(config.vocab_size, 3, 9);
  const std::vector<int32_t> of_long{4, 1, 6}, of_short{0};
  const std::span all(long_text);
  const std::vector<SequenceChunk> first{
      {.tokens = all.first(20), .start = 0, .blocks = of_long, .num_logits = 2}};
  const std::vector<SequenceChunk> second{
      {.tokens = short_text, .start = 0, .blocks = of_short, .num_logits = 3},
      {.tokens = all.subspan(20), .start = 20, .blocks = of_long, .num_logits = 9}};
  for (const auto& chunks : {first, second}) {
    const auto logits = to_vector(rank.cached.logits(rank.ctx, chunks));
    out.logits.insert(out.logits.end(), logits.begin(), logits.end());
  }
  GenerationCounts counts;
  out.texts = generate(rank, {.max_batch_tokens = 50, .max_sequences = 6},
                       some_requests(config.vocab_size, 12, 1), &counts);
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.reused_tokens, 0);
  out.heard =
      hear(rank, {.max_batch_tokens = 30, .max_sequences = 5}, mixed_requests(config.vocab_size, 14, 2));
  return out;
}

// The same tokens; where products are divided, with log-probabilities within rounding.
void expect_alike(const std::vector<HeardText>& found, const std::vector<HeardText>& expected,
                  bool is_exact) {
  if (is_exact) {
    EXPECT_EQ(found, expected);
    return;
  }
  const auto near = [](const HeardText::Scores& a, const HeardText::Scores& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].first, b[i].first);
      EXPECT_NEAR(std::bit_cast<float>(a[i].second), std::bit_cast<float>(b[i].second), 1e-4);
    }
  };
  for (size_t i = 0; i < expected.size(); ++i) {
    near(found[i].tokens, expected[i].tokens);
    near(found[i].prompt, expected[i].prompt);
    EXPECT_EQ(found[i].finish, expected[i].finish);
    EXPECT_EQ(found[i].alternatives.size(), expected[i].alternatives.size());
  }
}

class GenerationIn : public testing::TestWithParam<LayoutCase> {};

TEST_P(GenerationIn, FollowsOneRank) {
  const NamedModel& model = GetParam().model;
  const NamedPlan& plan = GetParam().plan;
  const TrainedWeights weights(model.config);
  const auto self = make_self_communicator();
  const Generated one = run(*self, {.data = 1}, model.config, weights.path());
  std::vector<Generated> all(static_cast<size_t>(plan.plan.world_size()));
  run_thread_ranks(plan.plan.world_size(), [&](Communicator& world) {
    all[static_cast<size_t>(world.rank())] = run(world, plan.plan, model.config, weights.path());
  });
  for (const Generated& rank : all) {
    EXPECT_EQ(rank.texts, one.texts);
    EXPECT_EQ(rank.logits, all[0].logits);
  }
  expect_alike(all[0].heard, one.heard, plan.plan.tensor == 1);
  ASSERT_EQ(all[0].logits.size(), one.logits.size());
  float largest = 0, difference = 0;
  for (size_t i = 0; i < one.logits.size(); ++i) {
    largest = std::max(largest, std::abs(one.logits[i]));
    difference = std::max(difference, std::abs(one.logits[i] - all[0].logits[i]));
  }
  EXPECT_LE(difference, plan.plan.tensor == 1 ? 0 : 1e-5F * largest);
}

std::vector<LayoutCase> layout_cases() {
  std::vector<LayoutCase> out;
  uint32_t salt = 0;
  for (const NamedModel& model : inference_models(kLongest)) {
    std::vector<NamedPlan> of_model = sample(plans(), 3, ++salt);
    if (model.config.moe.num_experts > 0) {
      const auto more = sample(plans_with_experts(), 5);
      of_model.insert(of_model.end(), more.begin(), more.end());
    }
    for (const NamedPlan& plan : of_model) out.push_back({model, plan});
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(Layouts, GenerationIn, testing::ValuesIn(layout_cases()), [](const auto& p) {
  return fmt::format("{}_{}", p.param.model.name, p.param.plan.name);
});

TEST(GenerationInLayouts, RefusesContextParallelism) {
  run_thread_ranks(2, [&](Communicator& world) {
    expect_error(ExitCode::usage, {"parallel.context is 2", "allowed: 1"}, [&] {
      CachedRank(world, {.data = 1, .context = 2}, inference_models(kLongest).front().config, "",
                 {.num_blocks = 4});
    });
  });
}

// A stop string is seen by the first rank alone.
TEST(GenerationInLayouts, AllRanksStopWhereTheFirstSaysSo) {
  const ModelConfig config = inference_models(kLongest).front().config;
  run_thread_ranks(4, [&](Communicator& world) {
    CachedRank rank(world, {.data = 1, .tensor = 2, .pipeline = 2}, config, "",
                    {.num_blocks = 8, .block_tokens = 16});
    Generator generator(rank.ctx, rank.session.parallel(), rank.cached, {});
    generator.add({.prompt = {1, 2, 3}, .max_tokens = 20});
    generator.add({.prompt = {4}, .max_tokens = 5});
    while (generator.step([&](const GeneratedToken& token) {
      EXPECT_EQ(world.rank(), 0);
      return token.request == 0 && token.index == 2;
    })) {
    }
    EXPECT_EQ(generator.text(0).size(), 3U);
    EXPECT_EQ(generator.finish(0), FinishReason::stopped);
    EXPECT_EQ(generator.text(1).size(), 5U);
  });
}

}  // namespace
}  // namespace trireme::test
