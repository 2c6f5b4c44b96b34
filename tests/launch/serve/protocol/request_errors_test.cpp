// Requests that are wrong, hostile or too long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::launch::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string error_of(const KeptReply& reply) {
  const auto json = reply.json();
  const auto& error = json.at("error");
  EXPECT_EQ(error.size(), 4u);
  EXPECT_EQ(error.at("type"), "invalid_request_error");
  return error.at("message");
}

TEST(RequestBody, ThatIsNotJsonIsRefusedWithThePlace) {
  ApiRig rig;
  const std::pair<std::string, const char*> bodies[] = {
      {"", "byte 0"},
      {"{\"prompt\":\"a\",}", "byte 14"},
      {"{\"prompt\":\"a\xff\"}", "byte 0xFF at byte 12"},
      {"{\"prompt\":\"a\xc3", "byte 0xC3 at byte 12"},
      {"{\"temperature\":NaN}", "byte 15"},
      {"{\"temperature\":1e999}", "byte"},
      {"{\"prompt\":\"\\ud800\"}", "byte"},
      {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "\"prompt\" twice"},
      {std::string("{\"prompt\":\"a\"}\0{}", 17), "byte 14: a zero byte"},
      {std::string("{\"n\":1,\0}", 9), "byte 7: a zero byte"},
      {"[1,2]", "of type array; a request is an object"},
      {"7", "is an object"},
      {"{\"stop\":" + std::string(100'000, '['), "nested more than 100"},
      {"{\"stop\":" + std::string(101, '[') + std::string(101, ']') + "}", "nested more than 100"},
  };
  for (const auto& [body, words] : bodies) {
    const auto reply = rig.ask("POST", "/v1/completions", body);
    EXPECT_EQ(reply->status, 400);
    EXPECT_THAT(error_of(*reply), HasSubstr(words)) << body.substr(0, 60);
  }
  EXPECT_EQ(rig.engine.num_submissions, 0);
}

TEST(RequestBody, OfManyNamesIsReadInLinearTime) {
  std::string body = "{";
  for (int i = 0; i < 40'000; ++i) body += fmt::format("\"n{}\":{},", i, i);
  body += "\"prompt\":\"a\"}";
  ApiRig rig;
  EXPECT_EQ(rig.ask("POST", "/v1/completions", body)->status, 400);  // of quadratic time the tier takes note
}

TEST(RequestFields, OfWrongTypesAndRangesAreNamedWithWhatIsAllowed) {
  ApiRig rig;
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"temperature", "-0.1", "0 to 100"},
      {"temperature", "\"hot\"", "\"hot\""},
      {"top_p", "0", "above 0"},
      {"top_p", "1.01", "0 to 1"},
      {"top_k", "-2", "-1 to"},
      {"top_k", "1.5", "an integer"},
      {"top_k", "1e300", "an integer"},
      {"seed", "18446744073709551616", "an integer"},
      {"n", "0", "1 to 128"},
      {"n", "129", "1 to 128"},
      {"max_tokens", "0", "1 or more"},
      {"max_tokens", "true", "an integer"},
      {"min_tokens", "17", "the most tokens of a text, 16"},
      {"presence_penalty", "2.5", "-2 to 2"},
      {"repetition_penalty", "0", "above 0"},
      {"logit_bias", R"({"258":1})", "0 to 257"},
      {"logit_bias", R"({"a":1})", "the token \"a\"; allowed: ids from 0 to 257"},
      {"logit_bias", R"({"-1":1})", "the token \"-1\""},
      {"logit_bias", R"({"99999999999999999999":1})", "the token \"99999999999999999999\""},
      {"logit_bias", R"({"7":101})", "-100 to 100"},
      {"logit_bias", R"({"7":1,"07":2})", "twice"},
      {"logit_bias", "[1]", "an object"},
      {"stop", R"("")", "1 to 1024"},
      {"stop", R"(["a",""])", "1 to 1024"},
      {"stop", "7", "a string"},
      {"stop", R"(["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])", "16"},
      {"stop_token_ids", "[258]", "0 to 257"},
      {"logprobs", "21", "0 to 20"},
      {"logprobs", "true", "an integer"},
      {"stream", "1", "true or false"},
      {"stream_options", R"({"include_usage":true})", "\"stream\" is not true"},
      {"prompt", "[]", "a list"},
      {"prompt", "[[]]", "without tokens"},
      {"prompt", "[1,258]", "at place 1"},
      {"prompt", "[[1],[-1]]", "0 to 257"},
      {"prompt", R"(["a",7])", "a list of strings"},
      {"prompt", "7", "a string"},
      {"timeout", "0", "above 0"},
      {"priority", "1.5", "an integer"},
      {"response_format", R"({"type":"xml"})", "json_schema"},
      {"response_format", R"({"type":"text","schema":1})", "; allowed: type"},
      {"response_format", R"({"type":"json_schema"})", "without"},
      {"return_tokens_as_token_ids", "true", "without \"logprobs\""},
  };
  for (const auto& [field, value, words] : cases) {
    ordered_json body{{"prompt", "a"}};
    body[field] = ordered_json::parse(value);
    if (std::string_view(field) == "min_tokens") body["max_tokens"] = 16;
    const auto reply = rig.post("/v1/completions", body);
    EXPECT_EQ(reply->status, 400) << field << value;
    const std::string message = error_of(*reply);
    EXPECT_THAT(message, HasSubstr(field));
    EXPECT_THAT(message, HasSubstr(words)) << value;
  }
  EXPECT_EQ(rig.engine.num_submissions, 0);
}

TEST(RequestFields, UnknownOnesAreRefusedWithTheOneThatIsNear) {
  ApiRig rig;
  for (const auto& [name, nearest] : {std::pair{"temprature", "temperature"},
                                      {"max_token", "max_tokens"},
                                      {"stream_option", "stream_options"},
                                      {"Seed", "seed"}}) {
    const auto reply = rig.post("/v1/completions", {{"prompt", "a"}, {name, 1}});
    EXPECT_EQ(reply->status, 400);
    EXPECT_THAT(error_of(*reply),
                AllOf(HasSubstr(name), HasSubstr(fmt::format("; did you mean {}?", nearest))));
    EXPECT_EQ(reply->json()["error"]["param"], name);
  }
  for (const std::string& far : {std::string("guidance"), std::string(100'000, 'x')}) {
    const auto reply = rig.post("/v1/completions", {{"prompt", "a"}, {far, 1}});
    EXPECT_EQ(reply->status, 400);
    EXPECT_THAT(error_of(*reply), ::testing::EndsWith("is no field of this request"));
  }
}

TEST(RequestMessages, AreTextOfKnownRoles) {
  ApiRig rig;
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "at least one"},
      {"\"hi\"", "a list"},
      {R"([7])", "messages[0]"},
      {R"([{"content":"a"}])", "role is missing"},
      {R"([{"role":"tool","content":"a"}])", "\"tool\""},
      {R"([{"role":"user"}])", "content is missing"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])", "\"image_url\""},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "without \"text\""},
      {R"([{"role":"user","content":[{"type":"text","text":"a","cache":1}]}])", "cache"},
      {R"([{"role":"user","content":"a","contents":"b"}])", "did you mean content?"},
      {R"([{"role":"assistant","content":"a","tool_calls":[{"id":"1"}]}])", "tool_calls"},
  };
  for (const auto& [messages, words] : cases) {
    const auto reply = rig.post("/v1/chat/completions", {{"messages", ordered_json::parse(messages)}});
    EXPECT_EQ(reply->status, 400) << messages;
    EXPECT_THAT(error_of(*reply), HasSubstr(words));
  }
}

TEST(RequestMessages, BecomeTheTemplatesText) {
  ApiRig rig;
  const auto prompt = [&](const char* body) {
    EXPECT_EQ(rig.post("/v1/chat/completions", ordered_json::parse(body))->status, 0) << "not answered yet";
    return rig.tokenizer().decode(rig.engine.texts.at(0).generation.prompt);
  };
  EXPECT_EQ(
      prompt(
          R"({"messages":[{"role":"developer","content":"d"},{"role":"user","name":"ann","content":"u"}]})"),
      "<system>d</><user ann>u</><assistant>");
  EXPECT_EQ(
      prompt(
          R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})"),
      "<user>a\nb</><assistant>");
  EXPECT_EQ(prompt(R"({"messages":[{"role":"user","content":"u"}],"chat_template_kwargs":{"shout":1}})"),
            "<user>u</><assistant>!");
  EXPECT_EQ(prompt(R"({"messages":[{"role":"user","content":"u"}],"add_generation_prompt":false})"),
            "<user>u</>");
  EXPECT_EQ(prompt(R"({"messages":[{"role":"user","content":"u"},
            {"role":"assistant","content":"Sure: ","refusal":null,"tool_calls":[],"audio":null}],
            "continue_final_message":true})"),
            "<user>u</><assistant>Sure: ");
  EXPECT_EQ(rig.engine.texts.at(0).generation.max_tokens, ApiRig::kLongest - 27) << "what fits";
  const auto reply =
      rig.post("/v1/chat/completions", ordered_json::parse(R"({"messages":[{"role":"user","content":"u"}],
            "continue_final_message":true,"add_generation_prompt":true})"));
  EXPECT_EQ(reply->status, 400);
}

TEST(RequestLength, BeyondTheLongestSequenceIsRefusedWithItsNumbers) {
  ApiRig rig;
  const auto ask = [&](size_t prompt, ordered_json more) {
    ordered_json body{{"prompt", std::vector<int>(prompt, 65)}};
    body.update(more);
    return rig.post("/v1/completions", body);
  };
  const auto reply = ask(60, {{"max_tokens", 5}});
  EXPECT_EQ(reply->status, 400);
  EXPECT_EQ(reply->json()["error"]["code"], "context_length_exceeded");
  EXPECT_THAT(error_of(*reply), AllOf(HasSubstr("60 tokens"), HasSubstr("65"), HasSubstr("64")));
  EXPECT_EQ(ask(64, ordered_json::object())->status, 400);
  EXPECT_EQ(rig.engine.num_submissions, 0);
  ask(60, {{"max_tokens", 4}});
  EXPECT_EQ(rig.engine.texts.at(0).generation.max_tokens, 4);
  ask(60, ordered_json::object());
  EXPECT_EQ(rig.engine.texts.at(0).generation.max_tokens, 4) << "of the default 16 what fits";
  ask(10, ordered_json::object());
  EXPECT_EQ(rig.engine.texts.at(0).generation.max_tokens, 16);
  EXPECT_EQ(ask(60, {{"min_tokens", 5}})->status, 400);
}

TEST(RequestTexts, OfSeveralPromptsAndChoicesDrawWithSeedsOfTheirOwn) {
  ApiRig rig;
  rig.post("/v1/completions", {{"prompt", {"a", "b"}}, {"n", 2}, {"seed", 40}});
  ASSERT_EQ(rig.engine.texts.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rig.engine.texts[i].generation.sampling.seed, 40 + i % 2) << "as the prompt alone";
    EXPECT_EQ(rig.engine.texts[i].generation.prompt, (std::vector<int32_t>{257, i < 2 ? 'a' : 'b'}));
  }
  rig.post("/v1/completions", {{"prompt", "a"}});
  const uint64_t first = rig.engine.texts[0].generation.sampling.seed;
  rig.post("/v1/completions", {{"prompt", "a"}});
  EXPECT_NE(rig.engine.texts[0].generation.sampling.seed, first) << "drawn";
  rig.post("/v1/completions", {{"prompt", {"a", "a"}}, {"n", 2}});
  for (size_t i = 1; i < 4; ++i)
    EXPECT_EQ(rig.engine.texts[i].generation.sampling.seed, rig.engine.texts[0].generation.sampling.seed + i);
  EXPECT_EQ(rig.post("/v1/completions", {{"prompt", {"a", "b"}}, {"n", 65}})->status, 400);
}

}  // namespace
}  // namespace trireme::launch::test
