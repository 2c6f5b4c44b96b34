// With drafts of any kind texts, log-probabilities and ends are those without.
#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/inference/inference_model.h"
#include "models/inference/speculation/drafts.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96, kVocab = 37, kMostDrafted = 5;

/// All that becomes of a request.
struct Record {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> bits;         // of log-probabilities
  std::vector<int32_t> alternatives;  // of all places
  std::vector<FinishReason> finishes;
  friend bool operator==(const Record&, const Record&) = default;
};
void PrintTo(const Record& r, std::ostream* out) { *out << fmt::format("{} tokens", r.tokens.size()); }
using Records = std::vector<Record>;

/// Every third token in turn, beginning with some.
class InTurn final : public TokenFilter {
 public:
  std::span<const uint64_t> allowed() override {
    word_ = 0;
    for (int64_t token = place_ % 3; token < kVocab; token += 3) word_ |= uint64_t{1} << token;
    return {&word_, 1};
  }
  void accept(int32_t token) override {
    EXPECT_EQ(token % 3, place_ % 3);
    ++place_;
  }

 private:
  int64_t place_ = 0;
  uint64_t word_ = 0;
};

/// Requests of all kinds, with whatever shapes a draw.
std::vector<GenerationRequest> all_kinds(int64_t count, uint64_t seed) {
  auto requests = some_requests(kVocab, count, seed);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].num_alternatives = static_cast<int64_t>(i) % 4 - 1;
    if (i % 5 == 1) requests[i].filter = std::make_shared<InTurn>();
    if (i % 5 == 2) requests[i].sampling.logit_bias = {{3, 2.5F}, {11, -1.0F}};
    if (i % 5 == 3) requests[i].sampling.frequency_penalty = 0.3;
    if (i % 4 == 2) requests[i].min_tokens = 4;
  }
  return requests;
}

/// Ends some texts, as stop strings do.
class Recorder final : public GenerationListener {
 public:
  explicit Recorder(size_t count) : records(count) {}
  bool on_token(const GeneratedToken& token) override {
    Record& r = records[static_cast<size_t>(token.request)];
    EXPECT_EQ(token.index, std::ssize(r.tokens));
    r.tokens.push_back(token.sampled.token);
    r.bits.push_back(std::bit_cast<uint32_t>(token.sampled.log_probability));
    r.finishes.push_back(token.finish);
    for (const TokenScore& score : token.alternatives) r.alternatives.push_back(score.token);
    return token.request % 3 == 1 && token.index > 6 && token.sampled.token % 4 == 1;
  }
  Records records;
};

Records run(Context& ctx, const ParallelContext& parallel, CachedModel& cached,
            const GeneratorOptions& options, const std::vector<GenerationRequest>& requests,
            GenerationCounts* counts = nullptr) {
  Generator generator(ctx, parallel, cached, options);
  for (const GenerationRequest& request : requests) generator.add(request);
  Recorder recorder(requests.size());
  while (generator.step(recorder)) {
  }
  EXPECT_EQ(generator.num_unfinished(), 0);
  for (int64_t i = 0; i < std::ssize(requests); ++i) {
    Record& r = recorder.records[static_cast<size_t>(i)];
    if (r.tokens.empty()) r.tokens.assign(generator.text(i).begin(), generator.text(i).end());
    EXPECT_TRUE(std::ranges::equal(r.tokens, generator.text(i)));
    r.finishes.push_back(generator.finish(i));
  }
  EXPECT_EQ(generator.last_pass().used_blocks, 0);
  if (counts != nullptr) *counts = generator.counts();
  return recorder.records;
}

/// Knows the texts, and says what it likes of them.
class Oracle final : public DraftSource {
 public:
  enum class Mood : uint8_t { right, wrong_at_times, garbage };
  Oracle(const Records& records, const std::vector<GenerationRequest>& requests, Mood mood)
      : records_(records), requests_(requests), mood_(mood) {}

  void propose(std::span<const DraftedText> texts) override {
    for (const DraftedText& text : texts) {
      EXPECT_TRUE(text.draft->empty());
      EXPECT_GE(text.most, 0);
      EXPECT_LE(text.most, kMostDrafted);
      known_.insert(text.request);
      const auto at = static_cast<size_t>(text.request);
      const auto begin = text.tokens.size() - requests_[at].prompt.size();
      const auto& all = records_[at].tokens;
      for (size_t i = begin; i < all.size() && std::ssize(*text.draft) < text.most; ++i)
        text.draft->push_back(all[i]);
      spoil(text);
    }
  }
  void learn(std::span<const DraftOutcome> outcomes, int64_t sequences, double seconds) override {
    EXPECT_LE(std::ssize(outcomes), sequences);
    EXPECT_GT(seconds, 0);
    for (const DraftOutcome& outcome : outcomes) {
      EXPECT_LE(outcome.accepted, outcome.drafted);
      drafted += outcome.drafted;
      accepted += outcome.accepted;
    }
  }
  void forget(int64_t request) override { known_.erase(request); }
  bool knows_nothing() const { return known_.empty(); }

  int64_t drafted = 0, accepted = 0;

 private:
  void spoil(const DraftedText& text) {
    auto& draft = *text.draft;
    const auto drawn = philox4x32(7, static_cast<uint64_t>(num_++), 0);
    if (mood_ == Mood::wrong_at_times && !draft.empty() && drawn[0] % 2 == 0)
      draft[drawn[1] % draft.size()] = static_cast<int32_t>(drawn[2] % kVocab);
    if (mood_ != Mood::garbage) return;
    const auto copy = draft;
    switch (drawn[0] % 6) {
      case 0:
        draft.assign(200, static_cast<int32_t>(drawn[1] % kVocab));
        break;
      case 1:
        draft.insert(draft.begin() + static_cast<ptrdiff_t>(draft.size() / 2), -1);
        break;
      case 2:
        draft.assign(3, static_cast<int32_t>(kVocab));
        break;
      case 3:
        draft.push_back(INT32_MAX);
        break;
      case 4:
        draft.insert(draft.end(), copy.begin(), copy.end());
        break;
      default:
        draft.clear();
        break;
    }
  }

  const Records& records_;
  const std::vector<GenerationRequest>& requests_;
  Mood mood_;
  std::set<int64_t> known_;
  int64_t num_ = 0;
};

class SpeculationOf : public testing::TestWithParam<NamedModel> {
 protected:
  CachedRank rank(const CacheOptions& options, int num_threads = 1) {
    return CachedRank(*self_, {.data = 1}, GetParam().config, weights_.path(), options, num_threads);
  }
  static Records run_on(CachedRank& rank, const GeneratorOptions& options,
                        const std::vector<GenerationRequest>& requests, GenerationCounts* counts = nullptr) {
    return run(rank.ctx, rank.session.parallel(), rank.cached, options, requests, counts);
  }

  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{GetParam().config};
};

TEST_P(SpeculationOf, ChangesNothing) {
  CachedRank large = rank({.num_blocks = 100}), small = rank({.num_blocks = 6, .block_tokens = 16}, 2);
  const auto requests = [] { return all_kinds(10, 1); };  // filters are for one text each
  const auto asked = requests();
  const Records expected = run_on(large, {}, requests());
  GenerationCounts plain;
  EXPECT_EQ(run_on(small, {.max_batch_tokens = 50, .max_sequences = 6}, requests(), &plain), expected);
  EXPECT_GT(plain.preemptions, 0);
  EXPECT_EQ(plain.drafted_tokens, 0);
  using enum Oracle::Mood;
  for (const auto mood : {right, wrong_at_times, garbage}) {
    for (const bool is_small : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mood), is_small));
      Oracle oracle(expected, asked, mood);
      GeneratorOptions options{.max_draft_tokens = kMostDrafted, .drafts = &oracle};
      if (is_small) options.max_batch_tokens = 9, options.max_sequences = 6;
      GenerationCounts counts;
      EXPECT_EQ(run_on(is_small ? small : large, options, requests(), &counts), expected);
      EXPECT_TRUE(oracle.knows_nothing());
      EXPECT_EQ(counts.decoded_tokens, plain.decoded_tokens);
      EXPECT_GT(counts.accepted_tokens, 0);
      EXPECT_EQ(counts.drafted_tokens, oracle.drafted);
      EXPECT_EQ(counts.accepted_tokens, oracle.accepted);
      if (mood == right) {
        // Listeners end texts within drafts.
        EXPECT_GE(counts.accepted_tokens, counts.drafted_tokens - 5 * 10);
        EXPECT_LT(counts.passes, plain.passes);
      } else {
        EXPECT_LT(counts.accepted_tokens, counts.drafted_tokens);
      }
    }
  }
}

TEST_P(SpeculationOf, WithNgramsChangesNothing) {
  CachedRank small = rank({.num_blocks = 9, .block_tokens = 16}, 3);
  const Records expected = run_on(small, {}, all_kinds(12, 2));
  for (const bool is_paying : {false, true}) {
    auto source = ngram_drafts({.longest = 3, .shortest = 1});
    if (is_paying) source = paying_drafts(std::move(source));
    GenerationCounts counts;
    const GeneratorOptions options{.max_batch_tokens = 40, .max_draft_tokens = 4, .drafts = source.get()};
    EXPECT_EQ(run_on(small, options, all_kinds(12, 2), &counts), expected);
    EXPECT_GE(counts.drafted_tokens, counts.accepted_tokens);
    if (!is_paying) {
      EXPECT_GT(counts.accepted_tokens, 0);
    }
  }
}

/// What differs in what a pass computes for a row: one of each.
std::vector<NamedModel> kinds() {
  auto models = inference_models(kLongest);
  std::erase_if(models, [](const NamedModel& model) {
    return model.name != "dense_llama" && model.name != "mixture" && model.name != "windows_and_caps";
  });
  return models;
}
INSTANTIATE_TEST_SUITE_P(Models, SpeculationOf, testing::ValuesIn(kinds()),
                         [](const auto& p) { return p.param.name; });

class SpeculationWithModel : public testing::Test {
 protected:
  static ModelConfig config() { return inference_models(kLongest).front().config; }
  static std::vector<GenerationRequest> greedy(int64_t count) {
    auto requests = some_requests(kVocab, count, 5);
    for (GenerationRequest& request : requests) {
      request.sampling = {};
      request.end_tokens.clear();
    }
    return requests;
  }
  Records run_with(DraftSource* drafts, const std::vector<GenerationRequest>& requests,
                   GenerationCounts* counts = nullptr) {
    GeneratorOptions options{.max_sequences = 5};
    if (drafts != nullptr) options.max_draft_tokens = 3, options.drafts = drafts;
    return run(ctx_, model_.parallel(), cached_, options, requests, counts);
  }

  std::unique_ptr<Communicator> self_ = make_self_communicator();
  Context ctx_;
  TrainedWeights weights_{config()}, other_{config(), 1};
  InferenceModel model_{ctx_, *self_, weights_.path(), config(), {}};
  CachedModel cached_{ctx_, model_.parallel(), model_.model(), {.num_blocks = 40, .block_tokens = 16}};
};

// Drafts of the model itself are what is drawn, except for those behind a text's end.
TEST_F(SpeculationWithModel, ItsOwnDraftsAreRight) {
  const auto requests = greedy(9);
  const Records expected = run_with(nullptr, requests);
  InferenceModel same(ctx_, *self_, weights_.path(), config(), {});
  const auto source = model_drafts(ctx_, same, kVocab, 40);
  GenerationCounts counts;
  EXPECT_EQ(run_with(source.get(), requests, &counts), expected);
  EXPECT_GT(counts.drafted_tokens, 100);
  EXPECT_GE(counts.accepted_tokens, counts.drafted_tokens - 9 * 2);
}

// Of another one few are, and its cache of few blocks is enough for some texts at a time.
TEST_F(SpeculationWithModel, AnothersDraftsChangeNothing) {
  const auto requests = all_kinds(11, 6);
  const Records expected = run_with(nullptr, all_kinds(11, 6));
  InferenceModel other(ctx_, *self_, other_.path(), config(), {.max_seq_len = 40});
  for (const int64_t blocks : {1, 3, 40}) {
    const auto source = model_drafts(ctx_, other, kVocab, blocks);
    GenerationCounts counts;
    EXPECT_EQ(run_with(source.get(), all_kinds(11, 6), &counts), expected);
    EXPECT_GT(counts.drafted_tokens, blocks == 40 ? 60 : 10);
    EXPECT_LT(counts.accepted_tokens, counts.drafted_tokens / 2);
  }
}

TEST_F(SpeculationWithModel, RefusesASmallerVocabulary) {
  expect_error(ExitCode::usage, {"the draft model has 37 tokens, and the model 38"},
               [&] { model_drafts(ctx_, model_, 38, 4); });
}

TEST_F(SpeculationWithModel, DraftsWithinTheVocabularyAlone) {
  const auto source = model_drafts(ctx_, model_, 9, 4);
  const auto text = some_text(kVocab, 30, 3);
  std::vector<int32_t> draft;
  const DraftedText asked{.request = 4, .tokens = text, .most = 6, .draft = &draft};
  source->propose({&asked, 1});
  EXPECT_EQ(draft.size(), 6U);
  EXPECT_LT(std::ranges::max(draft), 9);
}

// A text of all the model's places, in a cache with not a block to spare.
TEST_F(SpeculationWithModel, GoesToTheLastPlace) {
  CachedModel tight(ctx_, model_.parallel(), model_.model(), {.num_blocks = 6, .block_tokens = 16});
  const std::vector<GenerationRequest> requests{
      {.prompt = some_text(kVocab, 30, 1), .max_tokens = kLongest - 30}};
  const Records expected = run(ctx_, model_.parallel(), tight, {}, requests);
  for (const auto mood : {Oracle::Mood::right, Oracle::Mood::garbage}) {
    Oracle oracle(expected, requests, mood);
    EXPECT_EQ(run(ctx_, model_.parallel(), tight, {.max_draft_tokens = 5, .drafts = &oracle}, requests),
              expected);
  }
}

TEST_F(SpeculationWithModel, AGeneratorThatGoesForgetsItsTexts) {
  const std::vector<GenerationRequest> requests{{.prompt = {1, 2}, .max_tokens = 40},
                                                {.prompt = {3}, .max_tokens = 40}};
  const Records expected = run_with(nullptr, requests);
  Oracle oracle(expected, requests, Oracle::Mood::right);
  {
    Generator generator(ctx_, model_.parallel(), cached_, {.max_draft_tokens = 2, .drafts = &oracle});
    for (const auto& request : requests) generator.add(request);
    Recorder recorder(2);
    for (int i = 0; i < 4; ++i) generator.step(recorder);
    EXPECT_FALSE(oracle.knows_nothing());
    generator.cancel(0);
  }
  EXPECT_TRUE(oracle.knows_nothing());
}

TEST(SpeculationInLayouts, AllRanksAppendTheSame) {
  struct Case {
    size_t model;
    ParallelPlan plan;
  };
  const std::vector<Case> cases{{0, {.data = 1, .tensor = 2}},
                                {4, {.data = 1, .pipeline = 2}},
                                {2, {.data = 2, .expert = 2}},
                                {0, {.data = 1, .tensor = 2, .pipeline = 2}}};
  for (const Case& c : cases) {
    const ModelConfig config = inference_models(kLongest)[c.model].config;
    const TrainedWeights weights(config);
    const auto self = make_self_communicator();
    CachedRank one(*self, {.data = 1}, config, weights.path(), {.num_blocks = 7, .block_tokens = 16});
    const GeneratorOptions plain{.max_batch_tokens = 50, .max_sequences = 6};
    const Texts expected = generate(one, plain, some_requests(kVocab, 12, 1));
    const int ranks = c.plan.world_size();
    run_thread_ranks(ranks, [&](Communicator& world) {
      CachedRank rank(world, c.plan, config, weights.path(), {.num_blocks = 7, .block_tokens = 16});
      const auto source = world.rank() == 0 ? ngram_drafts({.longest = 2, .shortest = 1}) : nullptr;
      GeneratorOptions options = plain;
      options.max_draft_tokens = 3;
      options.drafts = source.get();
      GenerationCounts counts;
      EXPECT_EQ(generate(rank, options, some_requests(kVocab, 12, 1), &counts), expected);
      EXPECT_GT(counts.accepted_tokens, 0);
      EXPECT_GT(counts.preemptions, 0);
    });
  }
}

}  // namespace
}  // namespace trireme::test
