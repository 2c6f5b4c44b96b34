// Replies token by token, as server-sent events.
#include <gtest/gtest.h>

#include "launch/generate/stopped_text.h"

#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::launch::test {
namespace {

constexpr const char *kText = "/v1/completions", *kChat = "/v1/chat/completions";
const ordered_json kHi = {{{"role", "user"}, {"content", "hi"}}};

TEST(StreamedReply, OfACompletionIsOneChunkAToken) {
  ApiRig rig;
  rig.engine.play = plays("xy", FinishReason::end_token);
  const auto reply = rig.post(kText, {{"prompt", "p"}, {"stream", true}});
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->content_type, "text/event-stream");
  EXPECT_TRUE(reply->is_stream && reply->is_ended);
  const auto events = reply->events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0],
            ordered_json::parse(R"({"index":0,"text":"x","logprobs":null,"finish_reason":null})"));
  EXPECT_EQ(events[1]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[0]["id"], events[1]["id"]);
  EXPECT_EQ(events[0]["object"], "text_completion");
  EXPECT_FALSE(events[0].contains("usage"));
  EXPECT_EQ(events[2], "[DONE]");
}

TEST(StreamedReply, OfAConversationBeginsWithTheRoleAndEndsWithTheReason) {
  ApiRig rig;
  rig.engine.play = plays("xy");
  const auto events = rig.post(kChat, {{"messages", kHi}, {"stream", true}})->events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events[1]["choices"][0]["delta"], ordered_json({{"content", "x"}}));
  EXPECT_TRUE(events[2]["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(events[3]["choices"][0]["delta"], ordered_json::object());
  EXPECT_EQ(events[3]["choices"][0]["finish_reason"], "length");
}

TEST(StreamedReply, HasUsageLastOrInAllChunks) {
  ApiRig rig;
  rig.engine.play = plays("xy");
  auto events =
      rig.post(kText, {{"prompt", "p"}, {"stream", true}, {"stream_options", {{"include_usage", true}}}})
          ->events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_TRUE(events[0]["usage"].is_null());
  EXPECT_EQ(events[2]["choices"], ordered_json::array());
  EXPECT_EQ(events[2]["usage"]["completion_tokens"], 2);
  events = rig.post(kText, {{"prompt", "p"},
                            {"stream", true},
                            {"stream_options", {{"include_usage", true}, {"continuous_usage_stats", true}}}})
               ->events();
  EXPECT_EQ(events[0]["usage"]["completion_tokens"], 1);
  EXPECT_EQ(events[1]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(events[2]["usage"], events[1]["usage"]);
}

TEST(StreamedReply, OfSeveralChoicesIsInterleavedAndEndsOnce) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    for (const char letter : std::string("xyz")) {
      for (size_t i = 0; i < texts.size(); ++i) {
        if (i == 0 && letter == 'z') continue;  // the first has ended
        const bool is_last = letter == (i == 0 ? 'y' : 'z');
        texts[i].sink->on_token(event_of(static_cast<uint8_t>(letter), std::string(1, letter),
                                         is_last ? FinishReason::length : FinishReason::none));
      }
    }
  };
  const auto reply = rig.post(kChat, {{"messages", kHi}, {"stream", true}, {"n", 2}});
  std::vector<std::string> texts(2), roles(2), finishes(2);
  int num_done = 0;
  for (const auto& event : reply->events()) {
    if (event == "[DONE]") {
      ++num_done;
      continue;
    }
    const auto& choice = event["choices"][0];
    const size_t index = choice["index"];
    texts[index] += choice["delta"].value("content", "");
    roles[index] += choice["delta"].value("role", "");
    if (!choice["finish_reason"].is_null()) finishes[index] += choice["finish_reason"];
  }
  EXPECT_EQ(num_done, 1);
  EXPECT_EQ(texts, (std::vector<std::string>{"xy", "xyz"}));
  EXPECT_EQ(roles, (std::vector<std::string>{"assistant", "assistant"}));
  EXPECT_EQ(finishes, (std::vector<std::string>{"length", "length"}));
}

TEST(StreamedReply, HasLogprobsOfTokensWhoseTextIsHeldBack) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    texts[0].sink->on_token(event_of(0xc3, "", FinishReason::none, -1));
    texts[0].sink->on_token(event_of(0xa9, "\u00e9", FinishReason::length, -2));
  };
  const auto events =
      rig.post(kText, {{"prompt", "p"}, {"stream", true}, {"logprobs", 0}, {"return_token_ids", true}})
          ->events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "");
  EXPECT_EQ(events[0]["choices"][0]["logprobs"]["tokens"], ordered_json({"bytes:\\xc3"}));
  EXPECT_EQ(events[1]["choices"][0]["text"], "\u00e9");
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["token_logprobs"], ordered_json({-2.0}));
  EXPECT_EQ(events[0]["choices"][0]["prompt_token_ids"], ordered_json({257, 112}));
  EXPECT_EQ(events[1]["choices"][0]["token_ids"], ordered_json({0xa9}));
}

TEST(StreamedReply, EchoesThePromptFirst) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    const std::vector<ScoredToken> scores = {{{'p', -1}, {}}};
    texts[0].sink->on_prompt_scores(scores);
    texts[0].sink->on_token(event_of('x', "x", FinishReason::length));
  };
  const auto events =
      rig.post(kText, {{"prompt", "p"}, {"stream", true}, {"echo", true}, {"logprobs", 0}})->events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "p");
  EXPECT_EQ(events[0]["choices"][0]["logprobs"]["tokens"], ordered_json({"<s>", "p"}));
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["text_offset"], ordered_json({1}));
}

TEST(StreamedReply, ThatFailsEndsWithAnErrorEvent) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    texts[0].sink->on_token(event_of('x', "x"));
    texts[0].sink->on_failed(TextFailure::stuck, "no step for 60 s");
    texts[1].sink->on_failed(TextFailure::stuck, "no step for 60 s");
  };
  const auto reply = rig.post(kText, {{"prompt", "p"}, {"stream", true}, {"n", 2}});
  const auto events = reply->events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1]["error"]["message"], "no step for 60 s");
  EXPECT_EQ(events[1]["error"]["code"], "stuck");
  EXPECT_TRUE(reply->is_ended);
}

TEST(StreamedReply, ThatFailsBeforeItBeginsHasAStatus) {
  ApiRig rig;
  rig.engine.play = [](std::vector<ServedText>& texts) {
    texts[0].sink->on_failed(TextFailure::deadline, "");
  };
  const auto reply = rig.post(kText, {{"prompt", "p"}, {"stream", true}});
  EXPECT_EQ(reply->status, 504);
  EXPECT_FALSE(reply->is_stream);
  EXPECT_EQ(reply->header("x-should-retry"), "false");
}

/// What the engine does with tokens, here: whole characters, nothing that may belong to a stop string.
TEST(StreamedReply, PutTogetherIsTheWholeText) {
  const std::string text = "Row, row \u00e9\u4e16\U0001F6A2 \"quoted\"\\\n\x01 end STOP after";
  const auto play = [&](std::vector<ServedText>& texts) {
    ApiRig rig;
    StoppedText out(rig.tokenizer(), texts[0].stops);
    for (const char c : text) {
      const std::string piece = out.push(static_cast<uint8_t>(c));
      texts[0].sink->on_token(event_of(static_cast<uint8_t>(c), piece,
                                       out.is_stopped() ? FinishReason::stopped : FinishReason::none));
    }
  };
  ApiRig rig;
  rig.engine.play = play;
  ordered_json body{{"prompt", "p"}, {"stop", {"STOP", "STORE"}}};
  const std::string whole = rig.post(kText, body)->json()["choices"][0]["text"];
  EXPECT_EQ(whole, text.substr(0, text.find("STOP")));
  body["stream"] = true;
  std::string joined;
  for (const auto& event : rig.post(kText, body)->events()) {
    if (event != "[DONE]") joined += event["choices"][0]["text"];
  }
  EXPECT_EQ(joined, whole);
}

}  // namespace
}  // namespace trireme::launch::test
