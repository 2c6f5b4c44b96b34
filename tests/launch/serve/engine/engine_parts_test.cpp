// The engine's parts by themselves: the queue of clients' wishes, a text's pieces, what ranks tell each
// other.
#include <gmock/gmock.h>

#include "launch/serve/engine/finish_rate.h"
#include "launch/serve/engine/open_text.h"
#include "launch/serve/engine/open_texts.h"
#include "launch/serve/engine/pass_news.h"
#include "launch/serve/engine/prompt_pace.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/launch/serve/engine/engine_rig.h"

namespace trireme::test {
namespace {

using launch::Arrival;
using launch::FinishRate;
using launch::OpenText;
using launch::PassNews;
using launch::ServedText;

TEST(FinishRate, IsThatOfTheLastTexts) {
  FinishRate rate;
  EXPECT_EQ(rate.seconds_for(10, 5), 1);  // nothing is known yet
  for (int i = 0; i < 200; ++i) rate.ended(i < 100 ? i * 100.0 : 10000 + 2.0 * i);
  EXPECT_EQ(rate.seconds_for(5, 10000 + 2.0 * 199), 10);
  EXPECT_EQ(rate.seconds_for(0, 10400), 1);
  EXPECT_EQ(rate.seconds_for(1, 10400 + 6300), 103);  // nothing has ended for long
  EXPECT_EQ(rate.seconds_for(100'000, 10400), 600);
}

/// The pieces that these bytes come in, one for each token.
struct Pieces {
  std::vector<std::string> pieces;
  Heard heard;
};

Pieces pieces_of(ServedText asked, const std::string& bytes, FinishReason last = FinishReason::length) {
  const ByteTokenizer tokenizer;
  const auto ears = std::make_shared<Ears>();
  Arrival arrival{.ticket = 1, .text = std::move(asked), .arrived = 1};
  arrival.text.sink = ears;
  OpenText text(arrival, &tokenizer);
  Pieces out;
  std::vector<int32_t> tokens(bytes.begin(), bytes.end());
  if (last == FinishReason::end_token) tokens.push_back(*tokenizer.end_of_text());
  std::string before;
  for (size_t i = 0; i < tokens.size() && !text.is_over(); ++i) {
    const bool is_last = i + 1 == tokens.size();
    text.push({.index = static_cast<int64_t>(i),
               .sampled = {tokens[i], -1},
               .finish = is_last ? last : FinishReason::none},
              static_cast<double>(i) + 2);
    out.heard = ears->wait([&](const Heard& h) { return h.tokens.size() == i + 1; });
    out.pieces.push_back(out.heard.text.substr(before.size()));
    before = out.heard.text;
  }
  return out;
}

TEST(OpenText, HoldsBackWhatMayBeOfAStopString) {
  const Pieces cut = pieces_of({.stops = {"END"}}, "anENEND!");
  EXPECT_THAT(cut.pieces, testing::ElementsAre("a", "n", "", "", "EN", "", ""));
  EXPECT_EQ(cut.heard.finish, FinishReason::stopped);
  const Pieces kept = pieces_of({.stops = {"END"}, .includes_stop = true}, "aEND!");
  EXPECT_EQ(kept.heard.text, "aEND");
  EXPECT_EQ(kept.heard.finish, FinishReason::stopped);
  EXPECT_EQ(pieces_of({.stops = {"END"}}, "a EN").heard.text, "a EN");
  EXPECT_EQ(pieces_of({.stops = {"END"}}, "a END").heard.finish, FinishReason::stopped);
}

TEST(OpenText, LooksForNoStopInTheFirstTokensThatAreAskedFor) {
  ServedText asked{.stops = {"b"}};
  asked.generation.min_tokens = 3;
  EXPECT_EQ(pieces_of(asked, "abcabc").heard.text, "abca");
}

TEST(OpenText, AnEndTokenIsTextOnlyWhereStopsAre) {
  EXPECT_EQ(pieces_of({}, "ab", FinishReason::end_token).heard.text, "ab");
  EXPECT_EQ(pieces_of({.keeps_specials = true}, "ab", FinishReason::end_token).heard.text, "ab");
  const ByteTokenizer tokenizer;
  const int32_t end = *tokenizer.end_of_text();
  EXPECT_EQ(
      pieces_of({.includes_stop = true, .keeps_specials = true}, "ab", FinishReason::end_token).heard.text,
      "ab" + tokenizer.decode(std::span(&end, 1)));
}

TEST(OpenText, CountsItsTimesOnce) {
  const auto ears = std::make_shared<Ears>();
  Arrival arrival{.ticket = 7, .text = {}, .arrived = 1};
  arrival.text.sink = ears;
  arrival.text.generation = {.prompt = {1, 2}, .max_tokens = 9};
  OpenText text(arrival, nullptr);
  text.begin(1, 2);
  text.begin(0, 5);  // again, after it had to make room
  EXPECT_EQ(text.push(GeneratedToken(), 6), 0);
  EXPECT_EQ(text.push(GeneratedToken(), 6.5), 0.5);
  text.fail(launch::TextFailure::cancelled, "gone", 8);
  text.fail(launch::TextFailure::failed, "no more", 9);
  EXPECT_EQ(text.push(GeneratedToken(), 9), 0);
  const launch::TextTimes& t = text.times();
  EXPECT_EQ((std::vector<double>{t.arrived, t.begun, t.first_token, t.ended}),
            (std::vector<double>{1, 2, 6, 8}));
  EXPECT_EQ((std::vector<int64_t>{t.prompt_tokens, t.reused_tokens, t.generated_tokens, t.max_tokens}),
            (std::vector<int64_t>{2, 1, 2, 9}));
  EXPECT_EQ(t.finish, "abort");
  EXPECT_EQ(ears->wait().message, "gone");
}

// While another rank stands still one of them would wait for ever.
TEST(OpenTexts, ThoseThatWaitForTheirNumberFailWithTheOthers) {
  launch::TextQueue queue(4, {});
  launch::ServingMetrics metrics("test");
  launch::OpenTexts texts(queue, metrics, nullptr, {});
  const auto stuck = std::make_shared<Ears>(), wrong = std::make_shared<Ears>(),
             well = std::make_shared<Ears>();
  for (const auto& ears : {stuck, wrong, well}) {
    Arrival arrival{.ticket = 1, .text = {}, .arrived = 1};  // of one request
    arrival.text.sink = ears;
    if (ears == well) texts.fail_all(launch::TextFailure::stuck, "stands still");
    texts.expect(arrival);
  }
  EXPECT_EQ(stuck->wait().message, "stands still");
  EXPECT_EQ(wrong->wait().message, "stands still");
  EXPECT_TRUE(texts.take_failed().empty());  // the generator knows none of them
  texts.add(10);
  texts.refuse(launch::TextFailure::failed, "unheard");
  texts.add(11);
  EXPECT_EQ(texts.take_failed(), std::vector<int64_t>{10});
  EXPECT_EQ(wrong->wait().message, "stands still");
  texts.fail_all(launch::TextFailure::failed, "later");
  EXPECT_EQ(well->wait().message, "later");
}

TEST(PassNews, AreThoseOfTheFirstRankOnAll) {
  PassNews told{.ended = {3, 1}, .added = some_requests(50, 4, 1), .is_end = true};
  told.added[1].sampling.logit_bias = {{4, 0.1F}, {7, -100}};
  told.added[2].min_tokens = 3;
  told.added[2].priority = -4;
  told.added[3].num_alternatives = 5;
  told.added[3].scores_prompt = true;
  run_thread_ranks(3, [&](Communicator& world) {
    Context ctx;
    launch::PassNumbers numbers{world.rank() == 2 ? 15 : 0, world.rank() == 0 ? 70 : 0};
    EXPECT_TRUE(launch::exchange(ctx, world, {}, numbers).is_empty());
    EXPECT_EQ(numbers.signal, 15);
    EXPECT_EQ(numbers.prompt_tokens, 70);
    const PassNews heard = launch::exchange(ctx, world, world.rank() == 0 ? told : PassNews(), numbers);
    EXPECT_EQ(heard.ended, told.ended);
    EXPECT_TRUE(heard.is_end);
    ASSERT_EQ(heard.added.size(), told.added.size());
    for (size_t i = 0; i < told.added.size(); ++i) {
      const GenerationRequest &a = heard.added[i], &b = told.added[i];
      EXPECT_EQ(a.prompt, b.prompt);
      EXPECT_EQ(a.sampling, b.sampling);
      EXPECT_EQ(a.end_tokens, b.end_tokens);
      EXPECT_EQ((std::vector{a.max_tokens, a.min_tokens, a.priority, a.num_alternatives}),
                (std::vector{b.max_tokens, b.min_tokens, b.priority, b.num_alternatives}));
      EXPECT_EQ(a.scores_prompt, b.scores_prompt);
    }
  });
}

PassReport pass_of(int64_t prompts, int64_t prompt_tokens, int64_t texts, double seconds) {
  PassReport report;
  report.prompts = prompts;
  report.prompt_tokens = prompt_tokens;
  report.sequences = prompts + texts;
  report.seconds = seconds;
  return report;
}

TEST(PromptPace, GivesPromptsTheTimeOfTheTextsBesideThem) {
  launch::PromptPace pace;
  EXPECT_GT(pace.prompt_tokens(), 1000);  // nothing is known
  pace.learn(pass_of(1, 100, 0, 0.1));
  EXPECT_GT(pace.prompt_tokens(), 1000);
  for (int i = 0; i < 40; ++i) pace.learn(pass_of(0, 0, 8, 0.05));
  EXPECT_EQ(pace.prompt_tokens(), 50);
  // Tokens of prompts become dearer, as of long ones: only what they add to the texts' time counts.
  for (int i = 0; i < 80; ++i) pace.learn(pass_of(1, 50, 8, 0.15));
  EXPECT_EQ(pace.prompt_tokens(), 25);
  // A pass that took less than texts alone says little, and nothing that divides by zero.
  for (int i = 0; i < 80; ++i) pace.learn(pass_of(1, 50, 8, 0.01));
  EXPECT_GE(pace.prompt_tokens(), 2000);
  for (int i = 0; i < 80; ++i) pace.learn(pass_of(1, 10, 8, 5));
  EXPECT_EQ(pace.prompt_tokens(), 16);
}

/// Ranks that serve one text, with a signal to the last of them when it is there.
TEST(ServingEngineOfManyRanks, GivesOneRanksAnswersAndStopsForASignalOfAny) {
  const ModelConfig config = small_config();
  EngineRig one(config);
  const GenerationRequest request{.prompt = {3, 1, 4}, .max_tokens = 20};
  const auto expected = one.ask(request);
  one.start();
  std::atomic<int> signal = 0;
  const ByteTokenizer tokenizer;
  run_thread_ranks(4, [&](Communicator& world) {
    CachedRank rank(world, {.data = 1, .tensor = 2, .pipeline = 2}, config, "",
                    {.num_blocks = 16, .block_tokens = 16});
    Generator generator(rank.ctx, rank.session.parallel(), rank.cached, {});
    launch::ServingMetrics metrics("model");
    launch::EngineOptions options;
    if (world.rank() == 3) options.signal = [&] { return int64_t{signal}; };
    launch::ServingEngine engine(rank.ctx, world, generator, &tokenizer, metrics, options);
    std::thread client;
    if (world.rank() == 0) {
      client = std::thread([&] {
        const auto too_long = std::make_shared<Ears>(), ears = std::make_shared<Ears>();
        std::vector<ServedText> texts(2);
        texts[0].generation = {.prompt = {1}, .max_tokens = kLongest};
        texts[0].sink = too_long;
        texts[1].generation = request;
        texts[1].sink = ears;
        engine.submit(std::move(texts));
        EXPECT_EQ(too_long->wait().failure, launch::TextFailure::failed);
        EXPECT_EQ(ears->wait().tokens, expected->wait().tokens);
        EXPECT_EQ(ears->wait().text, expected->wait().text);
        signal = 15;
      });
    }
    engine.run();
    if (client.joinable()) client.join();
  });
}

}  // namespace
}  // namespace trireme::test
