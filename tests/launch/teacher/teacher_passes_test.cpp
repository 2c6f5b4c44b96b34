#include "launch/teacher/teacher_passes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/data/tokens/token_source.h"
#include "tests/support/inference_models.h"
#include "tests/support/tensors.h"

namespace trireme::launch {
namespace {

constexpr int64_t kLength = 12, kSamples = 5;

struct Said {
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
};

/// What the writer of a replica gets of all samples, some at once.
Said said_in(const test::NamedModel& named, const std::string& weights, const ParallelPlan& plan,
             const FewTokensOptions& options, int64_t at_once) {
  Said said;
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, weights, named.config, {.plan = plan, .max_seq_len = kLength});
    const int64_t vocab = named.config.vocab_size;
    const auto source = std::make_shared<TokenVector>(test::some_text(vocab, 100, 3), "text");
    const BatchReader reader(source, SampleOrder::shuffled(1, 100, kLength, "text"), vocab, 2);
    TeacherPasses passes(ctx, model, reader, options);
    for (int64_t first = 0; first < kSamples; first += at_once) {
      passes.run(first, std::min(at_once, kSamples - first), true, [&](auto ids, auto probabilities) {
        ASSERT_TRUE(passes.is_writer());
        said.ids.insert(said.ids.end(), ids.begin(), ids.end());
        said.probabilities.insert(said.probabilities.end(), probabilities.begin(), probabilities.end());
      });
    }
    passes.run(0, 1, false, {});
  });
  return said;
}

/// softmax of the model's own logits at one rank: [rows, V].
std::vector<std::vector<double>> distributions(const test::NamedModel& named, const std::string& weights) {
  std::vector<std::vector<double>> all;
  run_thread_ranks(1, [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, weights, named.config, {.max_seq_len = kLength});
    const int64_t vocab = named.config.vocab_size;
    const TokenVector source(test::some_text(vocab, 100, 3), "text");
    const SampleOrder order = SampleOrder::shuffled(1, 100, kLength, "text");
    for (int64_t sample = 0; sample < kSamples; ++sample) {
      std::vector<int32_t> tokens(kLength);
      source.read(order.position(sample), kLength, tokens.data());
      MicroBatch batch = make_micro_batch(ctx, 1, kLength, tokens, {}, {}, 2);
      batch.like_paged = true;
      const std::vector<float> logits = test::to_vector(model.model().logits(ctx, batch));
      for (int64_t row = 0; row < kLength; ++row) {
        std::vector<double>& p = all.emplace_back();
        double sum = 0;
        for (int64_t c = 0; c < vocab; ++c)
          sum += p.emplace_back(std::exp(double{logits[static_cast<size_t>(row * vocab + c)]}));
        for (double& x : p) x /= sum;
      }
    }
  });
  return all;
}

TEST(TeacherPasses, TheLikeliestTokensOfTheModelInEveryLayout) {
  std::map<std::string, test::NamedModel> models;
  for (const test::NamedModel& named : test::inference_models(64)) models.emplace(named.name, named);
  for (const auto& [name, named] : models) {
    const test::TrainedWeights weights(named.config, 2);
    const FewTokensOptions top{TeacherTokens::top_k, 6, 1, 0}, drawn{TeacherTokens::sampled, 20, 1.5, 8};
    const Said alone = said_in(named, weights.path(), {.data = 1}, top, 2);
    const std::vector<std::vector<double>> p = distributions(named, weights.path());
    ASSERT_EQ(alone.ids.size(), p.size() * 6);
    for (size_t i = 0; i < alone.ids.size(); ++i) {
      const std::vector<double>& row = p[i / 6];
      ASSERT_NEAR(alone.probabilities[i], row[static_cast<size_t>(alone.ids[i])], 1e-5) << name << ", " << i;
      const auto likelier = std::ranges::count_if(
          row, [&](double x) { return x > row[static_cast<size_t>(alone.ids[i])] * (1 + 1e-5); });
      ASSERT_LE(likelier, static_cast<ptrdiff_t>(i % 6)) << name << ", " << i;
    }
    const Said draws = said_in(named, weights.path(), {.data = 1}, drawn, 3);
    const Said one_by_one = said_in(named, weights.path(), {.data = 1}, top, 1);
    EXPECT_EQ(one_by_one.ids, alone.ids) << name;
    EXPECT_EQ(one_by_one.probabilities, alone.probabilities) << name;
    for (const ParallelPlan& plan :
         {ParallelPlan{.data = 1, .tensor = 2}, ParallelPlan{.data = 1, .pipeline = 2}}) {
      const Said same = said_in(named, weights.path(), plan, top, 2);
      ASSERT_EQ(same.probabilities.size(), alone.probabilities.size()) << name;
      for (size_t i = 0; i < same.probabilities.size(); ++i)
        ASSERT_NEAR(same.probabilities[i], alone.probabilities[i], 1e-5) << name << ", " << i;
      const Said again = said_in(named, weights.path(), plan, drawn, 2);
      size_t differ = 0;  // where a draw falls on a seam of two tokens
      for (size_t i = 0; i < again.ids.size(); ++i) differ += again.ids[i] != draws.ids[i] ? 1 : 0;
      EXPECT_LE(differ, again.ids.size() / 100) << name;
    }
  }
}

}  // namespace
}  // namespace trireme::launch
