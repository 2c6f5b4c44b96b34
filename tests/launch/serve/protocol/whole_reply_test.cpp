// Replies that come whole, in OpenAI's shapes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::launch::test {
namespace {

constexpr const char *kText = "/v1/completions", *kChat = "/v1/chat/completions";
const ordered_json kHi = {{{"role", "user"}, {"content", "hi"}}};

std::vector<std::string> names_of(const ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

TEST(WholeReply, OfACompletionHasOpenAisShape) {
  ApiRig rig;
  rig.engine.play = plays("xyz", FinishReason::stopped);
  const auto reply = rig.post(kText, {{"prompt", {"ab", "c"}}, {"model", "tiny"}});
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->num_answers, 1);
  EXPECT_EQ(reply->content_type, "application/json");
  const auto json = reply->json();
  EXPECT_EQ(names_of(json), (std::vector<std::string>{"id", "object", "created", "model",
                                                      "system_fingerprint", "choices", "usage"}));
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("cmpl-"));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_GT(json["created"], 1700000000);
  ASSERT_EQ(json["choices"].size(), 2u);
  EXPECT_EQ(json["choices"][1],
            ordered_json({{"index", 1}, {"text", "xyz"}, {"logprobs", nullptr}, {"finish_reason", "stop"}}));
  EXPECT_EQ(json["usage"], ordered_json::parse(
                               R"({"prompt_tokens":5,"completion_tokens":6,"total_tokens":11,
      "prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}})"));
}

TEST(WholeReply, OfAConversationHasOpenAisShape) {
  ApiRig rig;
  rig.engine.play = plays("xyz");
  const auto json = rig.post(kChat, {{"messages", kHi}})->json();
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(
      json["choices"][0],
      ordered_json::parse(
          R"({"index":0,"message":{"role":"assistant","content":"xyz","refusal":null},"logprobs":null,"finish_reason":"length"})"));
}

TEST(WholeReply, CountsAPromptOnceAndWhatWasCached) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    for (ServedText& text : texts) {
      text.sink->on_begin(2);
      text.sink->on_token(event_of('x', "x", FinishReason::length));
    }
  };
  const auto usage = rig.post(kText, {{"prompt", "abc"}, {"n", 3}})->json()["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 4);
  EXPECT_EQ(usage["completion_tokens"], 3);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 2);
}

/// As lm-evaluation-harness asks for the likelihood of the last of the prompt's tokens.
TEST(WholeReply, EchoWithLogprobsIsWhatHarnessesSlice) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    ASSERT_EQ(texts.size(), 2u);
    for (ServedText& text : texts) {
      EXPECT_TRUE(text.generation.scores_prompt);
      EXPECT_EQ(text.generation.num_alternatives, 1);
      const std::vector<ScoredToken> scores = {{{'b', -1.1f}, {{'q', -0.1f}}},
                                               {{'c', -0.3f}, {{'c', -0.3f}}}};
      text.sink->on_prompt_scores(std::span(scores).first(1));
      text.sink->on_prompt_scores(std::span(scores).last(1));
      text.sink->on_token(event_of('d', "d", FinishReason::length, -2, {{'e', -1}}));
    }
  };
  const auto reply = rig.post(kText, ordered_json::parse(
                                         R"({"model":"tiny","prompt":[[97,98,99],[97,98,99]],"temperature":0,
      "max_tokens":1,"logprobs":1,"seed":1234,"echo":true})"));
  const auto choice = reply->json()["choices"][1];
  EXPECT_EQ(choice["text"], "abcd");
  const auto& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], ordered_json({"a", "b", "c", "d"}));
  EXPECT_EQ(logprobs["text_offset"], ordered_json({0, 1, 2, 3}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(names_of(logprobs["top_logprobs"][1]), (std::vector<std::string>{"q", "b"}));
  EXPECT_EQ(logprobs["top_logprobs"][2].size(), 1u);
  for (size_t i = 1; i < 4; ++i) {
    const std::string token = logprobs["tokens"][i];
    EXPECT_EQ(logprobs["token_logprobs"][i].get<double>(), logprobs["top_logprobs"][i][token].get<double>());
  }
  EXPECT_NE(reply->body.find("\"token_logprobs\":[null,-1.1,-0.3,-2.0]"), std::string::npos)
      << "shortest digits";
}

TEST(WholeReply, EchoAloneGivesThePromptAsItCame) {
  ApiRig rig;
  rig.engine.play = plays("x");
  EXPECT_EQ(rig.post(kText, {{"prompt", "a\u00e9\n"}, {"echo", true}})->json()["choices"][0]["text"],
            "a\u00e9\nx");
  EXPECT_EQ(rig.post(kText, {{"prompt", {97, 0xc3}}, {"echo", true}})->json()["choices"][0]["text"],
            "a\uFFFDx");
}

TEST(WholeReply, EchoOfNoTokensScoresThePromptAlone) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    EXPECT_EQ(texts[0].generation.max_tokens, 0);
    const std::vector<ScoredToken> scores = {{{'a', -1}, {}}};
    texts[0].sink->on_prompt_scores(scores);
    texts[0].sink->on_finished();
  };
  const auto choice = rig.post(kText, {{"prompt", "a"}, {"echo", true}, {"logprobs", 0}, {"max_tokens", 0}})
                          ->json()["choices"][0];
  EXPECT_EQ(choice["text"], "a");
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["logprobs"]["tokens"], ordered_json({"<s>", "a"}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], ordered_json({0, 0})) << "<s> was put before the text";
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][1], ordered_json({{"a", -1.0}}));
}

TEST(WholeReply, OffsetsCountCodePointsAndPartsOfThemHaveTheirPlace) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    const std::string text = "\u4e16a";  // three bytes, one
    for (size_t i = 0; i < text.size(); ++i)
      texts[0].sink->on_token(event_of(static_cast<uint8_t>(text[i]),
                                       i == 2   ? "\u4e16"
                                       : i == 3 ? "a"
                                                : "",
                                       i == 3 ? FinishReason::length : FinishReason::none));
  };
  const auto choice =
      rig.post(kText, {{"prompt", "\u00e9"}, {"echo", true}, {"logprobs", 0}})->json()["choices"][0];
  EXPECT_EQ(choice["text"], "\u00e9\u4e16a");
  EXPECT_EQ(choice["logprobs"]["text_offset"], ordered_json({0, 1, 1, 1, 2})) << "<s> alone was scored";
  EXPECT_EQ(choice["logprobs"]["tokens"][1], "bytes:\\xe4");
}

TEST(WholeReply, OfTokensWithOneTextLosesNone) {
  ApiRig rig;
  const std::vector<TokenScore> alternatives = {
      {256, -0.5f}, {'a', -1}, {'a', -1.5f}, {0xe4, -2}, {0xe5, -3}};
  rig.engine.play = [&](std::vector<ServedText>& texts) {
    texts[0].sink->on_token(event_of('a', "a", FinishReason::length, -1, alternatives));
  };
  const auto plain = rig.post(kText, {{"prompt", "p"}, {"logprobs", 5}})->json()["choices"][0]["logprobs"];
  EXPECT_EQ(plain["top_logprobs"][0].size(), 4u) << "one was named twice by the engine";
  EXPECT_EQ(plain["top_logprobs"][0]["bytes:\\xe5"], -3.0);
  EXPECT_EQ(plain["top_logprobs"][0]["</s>"], -0.5);
  const auto by_id = rig.post(kText, {{"prompt", "p"}, {"logprobs", 5}, {"return_tokens_as_token_ids", true}})
                         ->json()["choices"][0]["logprobs"];
  EXPECT_EQ(by_id["tokens"][0], "token_id:97");
  EXPECT_EQ(by_id["top_logprobs"][0]["token_id:228"], -2.0);
}

TEST(WholeReply, OfConversationsHasBytesOfTokens) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    EXPECT_EQ(texts[0].generation.num_alternatives, 2);
    texts[0].sink->on_token(
        event_of('a', "a", FinishReason::length, -std::numeric_limits<float>::infinity(), {{0xe4, -2}}));
  };
  const auto choice =
      rig.post(kChat, {{"messages", kHi}, {"logprobs", true}, {"top_logprobs", 2}})->json()["choices"][0];
  EXPECT_EQ(choice["logprobs"], ordered_json::parse(
                                    R"({"content":[{"token":"a","logprob":-9999.0,"bytes":[97],
      "top_logprobs":[{"token":"bytes:\\xe4","logprob":-2.0,"bytes":[228]}]}],"refusal":null})"));
}

TEST(WholeReply, GivesFloatsThatReadBackTheSame) {
  for (const float score : {-0.1f, -1e-8f, -123.456f, -0.0f, -3.4e38f, -1.17549435e-38f}) {
    ApiRig rig;
    rig.engine.play = [&](std::vector<ServedText>& texts) {
      texts[0].sink->on_token(event_of('a', "a", FinishReason::length, score));
    };
    const auto json = rig.post(kText, {{"prompt", "p"}, {"logprobs", 0}})->json();
    const auto& read = json["choices"][0]["logprobs"]["token_logprobs"][0];
    EXPECT_TRUE(read.is_number_float());
    EXPECT_EQ(static_cast<float>(read.get<double>()), score);
  }
}

TEST(WholeReply, GivesIdsWhereAsked) {
  ApiRig rig;
  rig.engine.play = plays("xy");
  const auto choice = rig.post(kText, {{"prompt", "a"}, {"return_token_ids", true}})->json()["choices"][0];
  EXPECT_EQ(choice["prompt_token_ids"], ordered_json({257, 97}));
  EXPECT_EQ(choice["token_ids"], ordered_json({120, 121}));
}

TEST(WholeReply, OfATextThatFailsSaysHow) {
  const std::tuple<TextFailure, int, const char*> cases[] = {
      {TextFailure::deadline, 504, "deadline_exceeded"},
      {TextFailure::stopping, 503, "stopping"},
      {TextFailure::stuck, 503, "stuck"},
      {TextFailure::failed, 500, "failed"}};
  for (const auto& [failure, status, code] : cases) {
    ApiRig rig;
    rig.engine.play = [what = failure](std::vector<ServedText>& texts) {
      texts[0].sink->on_token(event_of('a', "a"));
      for (ServedText& text : texts) text.sink->on_failed(what, "words");
    };
    const auto reply = rig.post(kText, {{"prompt", "p"}, {"n", 2}});
    EXPECT_EQ(reply->status, status);
    EXPECT_EQ(reply->num_answers, 1);
    EXPECT_EQ(reply->json()["error"]["code"], code);
    EXPECT_EQ(reply->json()["error"]["message"], "words");
  }
}

TEST(WholeReply, OfSeveralTextsOfWhichOneFailsCancelsTheOthers) {
  ApiRig rig;
  rig.post(kText, {{"prompt", "p"}, {"n", 2}});
  EXPECT_TRUE(rig.engine.cancelled.empty());
  rig.engine.texts[1].sink->on_failed(TextFailure::failed, "words");
  rig.engine.texts[0].sink->on_token(event_of('a', "a"));
  EXPECT_EQ(rig.engine.cancelled, std::vector<Ticket>{PlayedEngine::kTicket});
  rig.post(kText, {{"prompt", "p"}});
  rig.engine.texts[0].sink->on_failed(TextFailure::failed, "words");
  EXPECT_EQ(rig.engine.cancelled.size(), 1u) << "there is no other";
}

TEST(WholeReply, OfARefusedSubmissionSaysWhenToComeAgain) {
  ApiRig rig;
  rig.engine.refusal = {.is_accepted = false, .retry_after_seconds = 2.2, .refusal = "1024 texts wait"};
  const auto reply = rig.post(kText, {{"prompt", "p"}});
  EXPECT_EQ(reply->status, 429);
  EXPECT_EQ(reply->header("Retry-After"), "3");
  EXPECT_EQ(reply->json()["error"]["message"], "1024 texts wait");
  rig.engine.now = {.is_ready = false, .trouble = "stopping"};
  EXPECT_EQ(rig.post(kText, {{"prompt", "p"}, {"stream", true}})->status, 503);
}

TEST(WholeReply, OfAClientThatLeftIsCancelled) {
  ApiRig rig;
  const auto reply = rig.post(kText, {{"prompt", "p"}, {"n", 2}});
  ASSERT_TRUE(reply->gone);
  EXPECT_TRUE(rig.engine.cancelled.empty());
  reply->gone();
  EXPECT_EQ(rig.engine.cancelled, std::vector<Ticket>{PlayedEngine::kTicket});
}

}  // namespace
}  // namespace trireme::launch::test
