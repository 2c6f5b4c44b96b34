// Texts of many clients through one engine: each its own, whatever the others do, and all blocks come back.
#include "launch/serve/engine/serving_engine.h"

#include <gmock/gmock.h>

#include <atomic>

#include "runtime/base/philox.h"
#include "tests/launch/serve/engine/engine_rig.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

using launch::ServedText;
using launch::TextFailure;
using std::chrono::steady_clock;
using testing::HasSubstr;

/// Each request by itself, the whole prompt at once, without an engine.
Texts alone(const ModelConfig& config, const std::string& weights,
            const std::vector<GenerationRequest>& requests) {
  const auto self = make_self_communicator();
  CachedRank rank(*self, {.data = 1}, config, weights, {.num_blocks = 8, .block_tokens = 16});
  Texts texts;
  for (const GenerationRequest& request : requests)
    texts.push_back(generate(rank, {.reuses_prefixes = false}, {request}).front());
  return texts;
}

std::vector<GenerationRequest> scored_requests(const ModelConfig& config, int64_t count) {
  std::vector<GenerationRequest> requests = some_requests(config.vocab_size, count, 5);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].num_alternatives = 0;
    requests[i].priority = static_cast<int64_t>(i % 3);
    requests[i].max_tokens = 4 + static_cast<int64_t>(i % 9);
  }
  return requests;
}

/// By so many clients, each of which asks for the next text when its last has ended.
std::vector<Heard> heard_by(EngineRig& rig, const std::vector<GenerationRequest>& requests, int clients) {
  std::vector<Heard> heard(requests.size());
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      for (size_t n = next++; n < requests.size(); n = next++) {
        auto ears = std::make_shared<Ears>();
        std::vector<ServedText> texts(1);
        texts[0].generation = requests[n];
        texts[0].sink = ears;
        EXPECT_TRUE(rig.engine.submit(std::move(texts)).is_accepted);
        heard[n] = ears->wait();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return heard;
}

TEST(ServingEngine, AnswersAreThoseOfEachRequestAlone) {
  const ModelConfig config = small_config();
  const TrainedWeights weights(config);
  const auto requests = scored_requests(config, 200);
  const Texts expected = alone(config, weights.path(), requests);
  std::vector<Heard> first;
  for (const auto& [clients, reuses, batch] : {std::tuple{1, false, 512}, std::tuple{8, true, 11},
                                               std::tuple{64, false, 70}, std::tuple{64, true, 70}}) {
    RigOptions options;
    options.generator = {.max_batch_tokens = batch, .reuses_prefixes = reuses};
    EngineRig rig(config, weights.path(), options);
    rig.start();
    const std::vector<Heard> heard = heard_by(rig, requests, clients);
    if (first.empty()) first = heard;
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(heard[i].tokens, expected[i]) << i;
      EXPECT_EQ(heard[i], first[i]) << i;  // bits of probabilities, and text too
    }
    EXPECT_EQ(rig.engine.state().running + rig.engine.state().waiting, 0);
    wait_until([&] { return rig.engine.state().used_blocks == 0; });
  }
}

TEST(ServingEngine, AClientThatLeavesFreesItsBlocks) {
  const ModelConfig config = small_config();
  EngineRig rig(config);
  const auto gate = std::make_shared<Gate>(config.vocab_size, 2);
  GenerationRequest request = short_request();
  request.filter = gate;
  const auto ears = rig.ask(request);
  const launch::Ticket ticket = rig.last.ticket;
  rig.start();
  gate->wait_until_reached();
  const auto waiting = rig.ask(short_request());  // comes during a pass
  rig.engine.cancel(rig.last.ticket);
  rig.engine.cancel(ticket);
  rig.engine.cancel(ticket + 1000);
  gate->open();
  const Heard heard = ears->wait();
  EXPECT_EQ(heard.failure, TextFailure::cancelled);
  EXPECT_EQ(heard.tokens.size(), 3U);  // the pass in which it left was its last
  EXPECT_EQ(waiting->wait().failure, TextFailure::cancelled);
  EXPECT_TRUE(waiting->wait().tokens.empty());
  wait_until([&] { return rig.engine.state().used_blocks == 0; });
  EXPECT_EQ(rig.engine.state().running + rig.engine.state().waiting, 0);
}

TEST(ServingEngine, DeadlinesEndTextsThatRunOrWait) {
  const ModelConfig config = small_config();
  EngineRig rig(config);
  const auto gate = std::make_shared<Gate>(config.vocab_size, 1);
  ServedText running{.generation = short_request()};
  running.generation.filter = gate;
  running.deadline = steady_clock::now() + std::chrono::milliseconds(300);
  const auto ears = rig.ask(running);
  const auto late = rig.ask(ServedText{.generation = short_request(), .deadline = steady_clock::now()});
  rig.start();
  EXPECT_EQ(late->wait().failure, TextFailure::deadline);
  EXPECT_TRUE(late->wait().tokens.empty());
  gate->wait_until_reached();
  std::this_thread::sleep_until(*running.deadline);
  gate->open();
  const Heard heard = ears->wait();
  EXPECT_EQ(heard.failure, TextFailure::deadline);
  EXPECT_EQ(heard.tokens.size(), 2U);
}

TEST(ServingEngine, RefusesWhatIsMoreThanCanWait) {
  RigOptions options;
  options.engine.max_texts = 3;
  EngineRig rig(small_config(), "", options);
  const auto one = rig.ask(short_request());
  std::vector<ServedText> three(3);
  const launch::Submission refused = rig.engine.submit(std::move(three));
  EXPECT_FALSE(refused.is_accepted);
  EXPECT_GE(refused.retry_after_seconds, 1);
  EXPECT_THAT(refused.refusal,
              HasSubstr("3 text(s) are asked for, and 1 run or wait already; no more than 3"));
  const auto two = rig.ask(short_request());
  EXPECT_TRUE(rig.last.is_accepted);
  EXPECT_EQ(rig.engine.state().waiting, 2);
  rig.start();
  EXPECT_EQ(one->wait(), two->wait());
  rig.ask(short_request())->wait();
  EXPECT_TRUE(rig.last.is_accepted);
}

TEST(ServingEngine, WhatDoesNotFitFailsAlone) {
  EngineRig rig(small_config());
  const auto expected = rig.ask(short_request());
  const auto too_long = rig.ask(short_request(kLongest));
  const auto foreign = rig.ask(GenerationRequest{.prompt = {1, 1 << 20}, .max_tokens = 4});
  const auto other = rig.ask(short_request());
  rig.start();
  EXPECT_EQ(too_long->wait().failure, TextFailure::failed);
  EXPECT_THAT(too_long->wait().message, HasSubstr("96 new ones"));
  EXPECT_EQ(foreign->wait().failure, TextFailure::failed);
  EXPECT_EQ(expected->wait(), other->wait());
  EXPECT_EQ(other->wait().finish, FinishReason::length);
}

TEST(ServingEngine, APromptIsScoredWithoutAText) {
  EngineRig rig(small_config());
  const auto ears = rig.ask(GenerationRequest{
      .prompt = {3, 1, 4, 1, 5}, .max_tokens = 0, .num_alternatives = 0, .scores_prompt = true});
  rig.start();
  const Heard heard = ears->wait();
  EXPECT_TRUE(heard.is_finished_empty);
  EXPECT_EQ(heard.prompt_scores, 4);
  EXPECT_TRUE(heard.tokens.empty());
}

TEST(ServingEngine, RandomDeparturesLeaveNothingBehind) {
  const ModelConfig config = small_config();
  const int64_t count = whole_tier() ? 10'000 : is_short_under_sanitizer() ? 500 : 2000;
  RigOptions options;
  options.cache.num_blocks = 12;  // some have to begin again
  options.generator = {.max_batch_tokens = 48, .max_sequences = 16};
  EngineRig rig(config, "", options);
  rig.start();
  constexpr int kClients = 4;
  std::vector<std::thread> threads;
  for (int client = 0; client < kClients; ++client) {
    threads.emplace_back([&, client] {
      std::vector<std::shared_ptr<Ears>> open;
      for (int64_t i = client; i < count; i += kClients) {
        const auto drawn = philox4x32(1, static_cast<uint64_t>(i), 0);
        std::vector<ServedText> texts(1 + drawn[0] % 3);
        for (ServedText& text : texts) {
          text.generation.prompt = some_text(config.vocab_size, 1 + drawn[1] % 30, drawn[1] % 5);
          text.generation.max_tokens = 1 + drawn[2] % 40;
          text.sink = open.emplace_back(std::make_shared<Ears>());
        }
        const launch::Submission submission = rig.engine.submit(std::move(texts));
        ASSERT_TRUE(submission.is_accepted);
        if (drawn[3] % 4 == 0)
          (void)open.back()->wait([](const Heard& h) { return h.is_over() || !h.text.empty(); });
        if (drawn[3] % 8 != 0) rig.engine.cancel(submission.ticket);
        if (open.size() < 100) continue;
        for (const auto& each : open) each->wait();
        open.clear();
      }
      for (const auto& each : open) each->wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  wait_until([&] { return rig.engine.state().used_blocks == 0; });
  EXPECT_EQ(rig.engine.state().running + rig.engine.state().waiting, 0);
  const auto last = rig.ask(short_request());
  EXPECT_EQ(last->wait().tokens.size(), 20U);
}

}  // namespace
}  // namespace trireme::test
