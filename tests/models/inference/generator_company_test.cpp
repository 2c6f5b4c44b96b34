// The same tokens with the same bits of log-probabilities alone, and at any concurrency: with chunks,
// preemption, shared prefixes, priorities, scored prompts and filters beside one another.
#include <algorithm>

#include <gtest/gtest.h>

#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/heard_texts.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;
constexpr int64_t kCount = 70, kFew = 20;  // few where much is computed again

class CompanyOf : public testing::TestWithParam<NamedModel> {
 protected:
  /// The first ones are the same, however many there are.
  std::vector<GenerationRequest> requests(int64_t count = kCount) const {
    return mixed_requests(GetParam().config.vocab_size, count, 3);
  }
  CachedRank rank(const CacheOptions& options, int num_threads) {
    return CachedRank(*self_, {.data = 1}, GetParam().config, weights_.path(), options, num_threads);
  }
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{GetParam().config};
};

TEST_P(CompanyOf, ChangesNoBit) {
  CachedRank one = rank({.num_blocks = 6, .block_tokens = 16}, 1);
  std::vector<HeardText> alone;
  for (const GenerationRequest& request : requests())
    alone.push_back(hear(one, {.reuses_prefixes = false}, {request}).front());
  const std::vector<HeardText> few(alone.begin(), alone.begin() + kFew);
  GenerationCounts counts;
  CachedRank eight = rank({.num_blocks = 8, .block_tokens = 16}, 2);
  EXPECT_EQ(hear(eight, {.max_batch_tokens = 20, .max_sequences = 8}, requests(kFew), &counts), few);
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.reused_tokens, 0);
  EXPECT_EQ(hear(eight, {.max_batch_tokens = 200, .passes_per_priority = 4}, requests(kFew), &counts), few);
  EXPECT_GT(counts.preemptions, 0);
  CachedRank many = rank({.num_blocks = 250, .block_tokens = 16}, 2);
  EXPECT_EQ(hear(many, {.max_batch_tokens = 200}, requests(), &counts), alone);
  EXPECT_EQ(counts.preemptions, 0);
  EXPECT_GT(counts.reused_tokens, 0);
}

std::vector<NamedModel> company_models() {
  const auto all = inference_models(kLongest);
  return {all[0], all[2]};
}
INSTANTIATE_TEST_SUITE_P(Models, CompanyOf, testing::ValuesIn(company_models()),
                         [](const auto& p) { return p.param.name; });

class ServedFor : public testing::Test {
 protected:
  ModelConfig config_ = inference_models(kLongest).front().config;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  CachedRank rank_{*self_, {.data = 1}, config_, "", {.num_blocks = 14, .block_tokens = 16}};
};

// What ends is released; numbers count on.
TEST_F(ServedFor, ThousandsOfRequests) {
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {.max_batch_tokens = 64});
  TextHearer hearer;
  hearer.ends = [](const GeneratedToken& token) { return token.request % 5 == 1 && token.index == 1; };
  int64_t released = 0, added = 0;
  std::vector<int64_t> kept;
  while (added < 2000 || !kept.empty()) {
    for (; added < 2000 && kept.size() < 20; ++added) {
      kept.push_back(generator.add({.prompt = some_text(37, 1 + added % 7, static_cast<uint64_t>(added % 3)),
                                    .max_tokens = 1 + added % 4,
                                    .priority = added % 3}));
      EXPECT_EQ(kept.back(), added);
    }
    ASSERT_TRUE(generator.step(hearer));
    EXPECT_LE(generator.last_pass().running + generator.last_pass().waiting, 20);
    std::erase_if(kept, [&](int64_t request) {
      if (generator.finish(request) == FinishReason::none) return false;
      generator.release(request);
      EXPECT_THROW(generator.finish(request), InternalError);
      hearer.texts.erase(request);
      return ++released > 0;
    });
  }
  EXPECT_EQ(released, 2000);
  EXPECT_EQ(generator.num_unfinished(), 0);
  EXPECT_EQ(generator.last_pass().used_blocks, 0);
  EXPECT_FALSE(generator.step(hearer));
  const int64_t last = generator.add({.prompt = {1}, .max_tokens = 1});
  EXPECT_EQ(last, 2000);
  EXPECT_THROW(generator.release(last), InternalError);  // it has not ended
}

// While they wait, while their prompt is read or scored, while the text goes on, and after they had to go.
TEST_F(ServedFor, RequestsThatAreCancelledAtAnyTime) {
  const auto draw = [](uint64_t i, uint64_t what, int64_t below) {
    return static_cast<int64_t>(philox4x32(21, i, what)[0] % static_cast<uint64_t>(below));
  };
  const std::vector<GenerationRequest> requests = mixed_requests(37, 60, 8);
  Generator whole(rank_.ctx, rank_.session.parallel(), rank_.cached, {.max_batch_tokens = 12});
  TextHearer of_whole;
  for (const GenerationRequest& request : mixed_requests(37, 60, 8)) whole.add(request);
  while (whole.step(of_whole)) {
  }
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached,
                      {.max_batch_tokens = 12, .max_sequences = 9});
  TextHearer hearer;
  for (const GenerationRequest& request : requests) generator.add(request);
  uint64_t pass = 0;
  std::vector<int64_t> cancelled;
  do {
    const int64_t some = draw(pass++, 1, 120);
    if (some >= 60 || generator.finish(some) != FinishReason::none) continue;
    const int64_t used = generator.last_pass().used_blocks;
    generator.cancel(some);
    EXPECT_EQ(generator.finish(some), FinishReason::stopped);
    EXPECT_LE(generator.last_pass().used_blocks, used);
    hearer.texts.erase(some);
    cancelled.push_back(some);
  } while (generator.step(hearer));
  EXPECT_EQ(generator.last_pass().used_blocks, 0);
  EXPECT_EQ(generator.num_unfinished(), 0);
  EXPECT_GT(cancelled.size(), 10U);
  EXPECT_GT(hearer.texts.size(), 10U);
  for (const auto& [request, text] : hearer.texts) EXPECT_EQ(text, of_whole.texts[request]) << request;
}

TEST_F(ServedFor, ReportsWhatHappens) {
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {.max_batch_tokens = 30});
  TextHearer hearer;
  for (int i = 0; i < 3; ++i) generator.add({.prompt = some_text(37, 40, 1), .max_tokens = 8});
  generator.add({.prompt = some_text(37, 80, 2), .max_tokens = 8, .priority = 1});
  EXPECT_EQ(generator.last_pass().waiting, 4);
  generator.step(hearer);
  PassReport report = generator.last_pass();
  EXPECT_EQ(report.prompt_tokens, 30);
  EXPECT_EQ(report.sequences, 1);
  EXPECT_EQ(report.running, 1);
  EXPECT_EQ(report.waiting, 3);
  EXPECT_EQ(report.used_blocks, 3);
  EXPECT_EQ(report.num_blocks, 14);
  generator.step(hearer);
  report = generator.last_pass();
  EXPECT_EQ(report.prompt_tokens, 10 + 20);  // the others wait for their second block
  EXPECT_EQ(report.waiting, 2);
  generator.step(hearer);
  EXPECT_EQ(hearer.reused[1], 32);
  EXPECT_EQ(hearer.reused[2], 32);
  while (generator.step(hearer)) {
  }
  EXPECT_EQ(generator.last_pass().sequences, 0);
  EXPECT_EQ(hearer.texts[0], hearer.texts[2]);
  EXPECT_EQ(generator.counts().decoded_tokens, 32);
}

}  // namespace
}  // namespace trireme::test
