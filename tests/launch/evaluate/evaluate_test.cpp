// Whole evaluations of trained models, against training's own and against plain arithmetic.
#include "launch/evaluate/evaluate.h"

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/evaluate/text_windows.h"
#include "launch/run/text_loss.h"
#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/inference_models.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

constexpr int64_t kSeqLen = 24, kVocab = 257;

ModelConfig of_bytes(ModelConfig config) {
  config.vocab_size = kVocab;
  return config;
}

std::string some_words(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i)
    text += i % 7 == 3 ? "of the " : i % 3 == 0 ? "sea, " : "and land ";
  text.resize(size);
  return text;
}

/// A model with a cache, from a file of weights.
struct Opened {
  Opened(Context& ctx, const std::string& weights, const ModelConfig& config, const InferenceOptions& options)
      : limits(pass_limits(kSeqLen, kVocab, 40, ops::CacheType::plain)),
        world(make_self_communicator()),
        model(ctx, *world, weights, config, options),
        cached(ctx, model.parallel(), model.model(), limits.cache) {}

  PassLimits limits;
  std::unique_ptr<Communicator> world;
  InferenceModel model;
  CachedModel cached;
};

InferenceOptions short_sequences() {
  InferenceOptions options;
  options.max_seq_len = kSeqLen;
  return options;
}

class EvaluateModels : public testing::TestWithParam<test::NamedModel> {};

/// The promise: with fp32 weights the loss of an evaluation in training, bit for bit.
TEST_P(EvaluateModels, TheLossIsTrainings) {
  const ModelConfig config = of_bytes(GetParam().config);
  const test::TrainedWeights weights(config);
  const ByteTokenizer tokenizer;
  const std::string text = some_words(190);
  const auto world = make_self_communicator();
  test::CachedRank trained(*world, {.data = 1}, config, weights.path(), {.num_blocks = 4});
  for (const int64_t micro_batch : {1, 3, 8}) {
    const TextLoss expected =
        text_loss(trained.session, *world, tokenizer.encode(text), {kSeqLen, micro_batch});
    for (const int threads : {1, 3}) {
      Context ctx(Device{}, threads);
      Opened opened(ctx, weights.path(), config, short_sequences());
      const ScoredText scored{text, kSeqLen, micro_batch, false};
      const TextScore score =
          score_text(ctx, opened.cached, nullptr, tokenizer, scored, kVocab, opened.limits);
      EXPECT_EQ(score.model.loss.mean, expected.loss) << "micro-batch " << micro_batch;
      EXPECT_EQ(score.num_tokens, expected.num_tokens);
      EXPECT_EQ(score.num_bytes, 189);
      EXPECT_NEAR(score.model.nats_per_byte, expected.loss, 1e-12);  // a token is a byte
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EvaluateModels, testing::ValuesIn(test::inference_models(64)),
                         [](const auto& of) { return of.param.name; });

class Evaluate : public testing::Test {
 protected:
  Evaluate() : config_(of_bytes(test::inference_models(64).front().config)), weights_(config_) {}

  ModelConfig config_;
  test::TrainedWeights weights_;
  ByteTokenizer tokenizer_;
  Context ctx_;
};

TEST_F(Evaluate, LossesAreThoseOfDoubleArithmetic) {
  Opened opened(ctx_, weights_.path(), config_, short_sequences());
  const std::string text = some_words(60);
  const std::vector<int32_t> ids = tokenizer_.encode(text);
  const TextWindows windows = windows_of(ids, kSeqLen, {});
  const TokenScores scores =
      score_tokens(ctx_, opened.cached, nullptr, windows.sequences, windows.targets, opened.limits);
  size_t at = 0;
  for (const KnownSequence& sequence : windows.sequences) {
    const LogitPass pass = plan_passes(std::span(&sequence, 1), opened.limits).front();
    const auto logits =
        ops::to_host<float>(ctx_, logits_of(ctx_, opened.cached, pass, std::span(&sequence, 1)));
    for (size_t row = 0; row < sequence.tokens.size(); ++row, ++at) {
      double sum = 0;
      for (size_t v = 0; v < kVocab; ++v) sum += std::exp(double{logits[row * kVocab + v]});
      const auto target = static_cast<size_t>(windows.targets[at]);
      EXPECT_NEAR(scores.losses[at], std::log(sum) - double{logits[row * kVocab + target]}, 1e-5);
    }
  }
  EXPECT_EQ(at, windows.targets.size());
}

TEST_F(Evaluate, AModelIsNoWayFromItselfAndSomeWayFromItsRounding) {
  const ScoredText text{some_words(120), kSeqLen, 8, false};
  Opened exact(ctx_, weights_.path(), config_, short_sequences());
  Opened same(ctx_, weights_.path(), config_, short_sequences());
  const TextScore none = score_text(ctx_, same.cached, &exact.cached, tokenizer_, text, kVocab, exact.limits);
  EXPECT_EQ(none.distance->divergence.mean, 0);
  EXPECT_EQ(none.distance->largest, 0);
  EXPECT_EQ(none.distance->same_top.mean, 1);
  EXPECT_EQ(none.distance->reference.loss.mean, none.model.loss.mean);

  InferenceOptions rounded = short_sequences();
  rounded.weights = ops::PackedSpec{.format = ops::PackedFormat::bf16};
  Opened other(ctx_, weights_.path(), config_, rounded);
  const TextScore some =
      score_text(ctx_, other.cached, &exact.cached, tokenizer_, text, kVocab, exact.limits);
  EXPECT_GT(some.distance->divergence.mean, 0);
  EXPECT_LT(some.distance->divergence.mean, 0.01);
  EXPECT_LE(some.distance->median, some.distance->percentile_99);
  EXPECT_LE(some.distance->percentile_99, some.distance->largest);
  EXPECT_EQ(some.distance->reference.loss.mean, none.model.loss.mean);
  EXPECT_NE(some.model.loss.mean, none.model.loss.mean);
}

TEST_F(Evaluate, ChoicesHaveTheProbabilitiesOfTheirTokens) {
  Opened opened(ctx_, weights_.path(), config_, short_sequences());
  const std::vector<ChoiceQuestion> questions = {{"and land ", {"and", "of the s", "xyz"}, 1, "q:1"},
                                                 {"", {"a", "sea"}, std::nullopt, "q:2"}};
  const ChoiceScores scores =
      score_choices(ctx_, opened.cached, tokenizer_, questions, kVocab, kSeqLen, opened.limits);
  ASSERT_EQ(scores.answers.size(), 2U);
  EXPECT_EQ(scores.num_labels, 1);
  const ChoiceAnswer& answer = scores.answers[0];
  EXPECT_EQ(answer.num_tokens, (std::vector<int64_t>{4, 9, 4}));  // with the blank that the context ends with
  EXPECT_EQ(answer.num_bytes, (std::vector<int64_t>{3, 8, 3}));
  // Each by itself, as a text of which the last tokens count.
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<int32_t> ids = tokenizer_.encode(questions[0].context + questions[0].choices[i]);
    const TextWindows window = windows_of(ids, kSeqLen, {});
    const TokenScores alone =
        score_tokens(ctx_, opened.cached, nullptr, window.sequences, window.targets, opened.limits);
    double sum = 0;
    for (size_t token = 7; token < alone.losses.size(); ++token) sum -= double{alone.losses[token]};
    EXPECT_EQ(answer.log_probabilities[i], sum) << i;
  }
  const auto best = std::ranges::max_element(answer.log_probabilities) - answer.log_probabilities.begin();
  EXPECT_EQ(answer.best, best);
  EXPECT_EQ(scores.accuracy.mean, best == 1 ? 1 : 0);
  EXPECT_EQ(scores.answers[1].num_tokens, (std::vector<int64_t>{1, 3}));
}

TEST_F(Evaluate, ContextsThatAreTooLongAreNamed) {
  Opened opened(ctx_, weights_.path(), config_, short_sequences());
  const std::vector<ChoiceQuestion> questions = {{std::string(30, 'a'), {"b"}, {}, "file:7"}};
  try {
    score_choices(ctx_, opened.cached, tokenizer_, questions, kVocab, kSeqLen, opened.limits);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("file:7: context and choice are 31 tokens"));
  }
}

TEST(ReadChoices, TakesLinesAndNamesWhatIsWrong) {
  const auto questions = read_choices(
      "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"label\": 1, \"id\": 4}\n\n"
      "{\"context\": \"\", \"choices\": [\"b\"], \"label\": null}",
      "q.jsonl");
  ASSERT_EQ(questions.size(), 2U);
  EXPECT_EQ(questions[0].label, 1);
  EXPECT_FALSE(questions[1].label);
  EXPECT_EQ(questions[1].origin, "q.jsonl:3");
  const auto refused = [](const char* text, const char* words) {
    try {
      read_choices(text, "q.jsonl");
      ADD_FAILURE() << text;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  refused("", "q.jsonl has no questions");
  refused("{\"choices\": [\"a\"]}", "context");
  refused("\n{\"context\": 1, \"choices\": [\"a\"]}", "q.jsonl:2");
  refused("{\"context\": \"a\", \"choices\": []}", "at least one");
  refused("{\"context\": \"a\", \"choices\": [\"\"]}", "empty");
  refused("{\"context\": \"a\", \"choices\": [\"b\"], \"label\": 1}", "label");
  refused("[1]", "context");
  refused("{\"context\"", "q.jsonl:1");
}

TEST(EvaluateArguments, WhatDoesNotGoTogetherIsSaid) {
  EvaluateArguments arguments;
  arguments.against = "other";
  arguments.begins = true;
  EXPECT_THAT(errors_of(arguments), testing::ElementsAre(HasSubstr("--text FILE or --choices FILE"),
                                                         HasSubstr("--against"), HasSubstr("--begin")));
  arguments.text = "file";
  EXPECT_TRUE(errors_of(arguments).empty());
}

}  // namespace
}  // namespace trireme::launch
