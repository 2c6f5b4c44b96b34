// No field is passed over: each one changes what is asked of the engine or what is answered, or is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "launch/serve/protocol/request/known_fields.h"

#include "tests/launch/serve/protocol/api_rig.h"
#include "tests/support/folders.h"

namespace trireme::launch::test {
namespace {

struct Sample {
  const char* path;
  const char* field;
  const char* value;
  const char* beside = "{}";  ///< other fields, with and without this one
  int status = 200;
};

constexpr const char *kText = "/v1/completions", *kChat = "/v1/chat/completions", *kTokenize = "/tokenize",
                     *kDetokenize = "/detokenize";

// Fields that conversations and completions have alike.
constexpr Sample kCommon[] = {
    {"", "model", R"("other")", "{}", 404},
    {"", "max_tokens", "7"},
    {"", "min_tokens", "2"},
    {"", "temperature", "0.5"},
    {"", "top_p", "0.5"},
    {"", "top_k", "5"},
    {"", "min_p", "0.25"},
    {"", "presence_penalty", "1"},
    {"", "frequency_penalty", "-1"},
    {"", "repetition_penalty", "1.5"},
    {"", "logit_bias", R"({"65":-100})"},
    {"", "seed", "9"},
    {"", "n", "2"},
    {"", "best_of", "2", R"({"n":2})"},
    {"", "best_of", "3", R"({"n":2})", 400},
    {"", "stop", R"("x")"},
    {"", "stop_token_ids", "[65]"},
    {"", "include_stop_str_in_output", "true"},
    {"", "ignore_eos", "true"},
    {"", "skip_special_tokens", "false"},
    {"", "stream", "true"},
    {"", "stream_options", R"({"include_usage":true})", R"({"stream":true})"},
    {"", "stream_options", R"({"continuous_usage_stats":true})", R"({"stream":true})"},
    {"", "return_token_ids", "true"},
    {"", "response_format", R"({"type":"json_object"})"},
    {"", "priority", "-3"},
    {"", "timeout", "5"},
};
constexpr Sample kOwn[] = {
    {kText, "prompt", R"("another")"},
    {kText, "logprobs", "1"},
    {kText, "echo", "true"},
    {kText, "return_tokens_as_token_ids", "true", R"({"logprobs":1})"},
    {kText, "add_special_tokens", "false"},
    {kChat, "messages", R"([{"role":"user","content":"no"}])"},
    {kChat, "max_completion_tokens", "7"},
    {kChat, "logprobs", "true"},
    {kChat, "top_logprobs", "2", R"({"logprobs":true})"},
    {kChat, "return_tokens_as_token_ids", "true", R"({"logprobs":true})"},
    {kChat, "add_generation_prompt", "false"},
    {kChat, "continue_final_message", "true"},
    {kChat, "chat_template_kwargs", R"({"shout":true})"},
    {kTokenize, "model", R"("other")", "{}", 404},
    {kTokenize, "prompt", R"("another")"},
    {kTokenize, "messages", R"([{"role":"user","content":"no"}])",
     R"({"prompt":null,"messages":[{"role":"user","content":"yes"}]})"},
    {kTokenize, "add_special_tokens", "false"},
    {kTokenize, "return_token_strs", "true"},
    {kTokenize, "add_generation_prompt", "false",
     R"({"prompt":null,"messages":[{"role":"user","content":"no"}]})"},
    {kTokenize, "continue_final_message", "true",
     R"({"prompt":null,"messages":[{"role":"user","content":"no"}]})"},
    {kTokenize, "chat_template_kwargs", R"({"shout":true})",
     R"({"prompt":null,"messages":[{"role":"user","content":"no"}]})"},
    {kDetokenize, "model", R"("other")", "{}", 404},
    {kDetokenize, "tokens", "[70]"},
};

uint8_t endpoint_of(std::string_view path) {
  return path == kText ? 1 : path == kChat ? 2 : path == kTokenize ? 4 : 8;
}

ordered_json base_of(std::string_view path) {
  if (path == kTokenize) return {{"prompt", "ab"}};
  if (path == kDetokenize) return {{"tokens", {65}}};
  ordered_json body{{"seed", 1}};
  if (path == kText) body["prompt"] = "ab";
  if (path == kChat) body["messages"] = {{{"role", "user"}, {"content", "hi"}}};
  return body;
}

/// All that a request came to: what the engine was asked, and the answer without its random id and time.
std::string outcome(const std::string& path, const ordered_json& body, int* status) {
  ApiRig rig;
  rig.engine.play = plays("{}");
  const auto reply = rig.post(path, body);
  *status = reply->status;
  std::string out = reply->body;
  for (const ServedText& text : rig.engine.texts) {
    const GenerationRequest& g = text.generation;
    const SamplingOptions& s = g.sampling;
    out += fmt::format("\n{} | {} {} | {} {} {} | {} {} {} {} {} {} {} {} | {} | {} {} {} {}",
                       fmt::join(g.prompt, ","), g.max_tokens, g.min_tokens, fmt::join(g.end_tokens, ","),
                       g.priority, g.num_alternatives, s.temperature, s.top_k, s.top_p, s.min_p,
                       s.repetition_penalty, s.presence_penalty, s.frequency_penalty, s.seed, g.scores_prompt,
                       fmt::join(text.stops, ","), text.includes_stop, text.keeps_specials,
                       text.deadline.has_value());
    for (const auto& [token, bias] : s.logit_bias) out += fmt::format(" {}:{}", token, bias);
    out += g.filter == nullptr ? "" : " filtered";
  }
  for (const auto& [name, length] : {std::pair{R"("id":")", 42}, {R"("created":)", 10}}) {
    for (size_t at = out.find(name); at != std::string::npos; at = out.find(name, at + 1))
      out.replace(at + std::string_view(name).size(), static_cast<size_t>(length), "");
  }
  return out;
}

void try_sample(const std::string& path, const Sample& sample) {
  SCOPED_TRACE(path + " " + sample.field + " " + sample.value);
  ordered_json without = base_of(path);
  without.update(ordered_json::parse(sample.beside));
  ordered_json with = without;
  with[sample.field] = ordered_json::parse(sample.value);
  int before = 0, after = 0;
  const std::string plain = outcome(path, without, &before), changed = outcome(path, with, &after);
  EXPECT_EQ(before, 200) << plain;
  EXPECT_EQ(after, sample.status) << changed;
  const bool may_be_equal = std::string_view(sample.field) == "best_of";
  if (!may_be_equal || after != 200) {
    EXPECT_NE(plain, changed);
  }
  with[sample.field] = nullptr;
  if (without.contains(sample.field)) return;
  EXPECT_EQ(outcome(path, with, &after), plain) << "null is absent";
}

TEST(KnownFields, HonouredOnesChangeTheTextOrTheReply) {
  std::set<std::pair<uint8_t, std::string_view>> tried;
  const auto one = [&](const std::string& path, const Sample& sample) {
    try_sample(path, sample);
    tried.emplace(endpoint_of(path), sample.field);
  };
  for (const Sample& sample : kCommon) {
    one(kText, sample);
    one(kChat, sample);
  }
  for (const Sample& sample : kOwn) one(sample.path, sample);
  for (const KnownField& field : known_fields()) {
    for (uint8_t endpoint = 1; endpoint <= 8; endpoint = static_cast<uint8_t>(2 * endpoint)) {
      if (field.use != FieldUse::honoured || (field.endpoints & endpoint) == 0) continue;
      EXPECT_TRUE(tried.contains({endpoint, field.name})) << field.name << " of endpoint " << int{endpoint};
    }
  }
}

TEST(KnownFields, OthersAreRefusedByNameOrAskForNothing) {
  int num_refused = 0;
  for (const KnownField& field : known_fields()) {
    for (const std::string path : {kText, kChat, kTokenize, kDetokenize}) {
      if ((field.endpoints & endpoint_of(path)) == 0 || field.use == FieldUse::honoured) continue;
      SCOPED_TRACE(path + " " + std::string(field.name));
      int status = 0;
      const std::string plain = outcome(path, base_of(path), &status);
      ordered_json body = base_of(path);
      body[std::string(field.name)] = "anything";
      const std::string changed = outcome(path, body, &status);
      if (field.use == FieldUse::inert) {
        EXPECT_EQ(status, 200);
        EXPECT_EQ(changed, plain);
        continue;
      }
      ++num_refused;
      EXPECT_EQ(status, 400);
      EXPECT_FALSE(field.reason.empty());
      const auto error = ordered_json::parse(changed)["error"];
      EXPECT_EQ(error["param"], field.name);
      EXPECT_NE(error["message"].get<std::string>().find(field.reason), std::string::npos);
      auto neutral = field.neutral.empty() ? ordered_json::array() : ordered_json::parse(field.neutral);
      neutral.push_back(nullptr);
      for (const ordered_json& value : neutral) {
        body[std::string(field.name)] = value;
        EXPECT_EQ(outcome(path, body, &status), plain) << value;
      }
    }
  }
  EXPECT_GT(num_refused, 60);
}

TEST(KnownFields, StandOnThePageAboutThem) {
  std::ifstream file(std::filesystem::path(trireme::test::source_folder()) / "docs/serving-fields.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  for (const KnownField& field : known_fields())
    EXPECT_NE(page.find("`" + std::string(field.name) + "`"), std::string::npos) << field.name;
}

}  // namespace
}  // namespace trireme::launch::test
