#include "tests/fuzz/request_case.h"

#include <bit>
#include <cstdlib>

#include "launch/generate/stopped_text.h"
#include "launch/serve/protocol/json_text.h"
#include "runtime/base/philox.h"
#include "runtime/io/json/utf8.h"

#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::test {
namespace {

using launch::ServedText;
using launch::TextEvent;
using nlohmann::ordered_json;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Numbers that follow from an input.
class Draws {
 public:
  explicit Draws(std::string_view input) {
    for (const char c : input) seed_ = seed_ * 0x100000001b3ull ^ static_cast<uint8_t>(c);
  }
  uint32_t below(size_t limit) { return philox4x32(seed_, count_++, 0)[0] % static_cast<uint32_t>(limit); }

 private:
  uint64_t seed_ = 0xcbf29ce484222325ull, count_ = 0;
};

/// Bytes that the text's stop strings, characters of all lengths, and bytes of none are made of.
std::string drawn_bytes(const ServedText& text, Draws& draws) {
  constexpr std::string_view kParts[] = {"a",      "\n",         "\"",       "\\",   "\u00e9",
                                         "\u4e16", "\U0001F6A2", "\xf0\x9f", "\x80", "\xff"};
  std::string bytes;
  while (std::ssize(bytes) < text.generation.max_tokens) {
    const size_t at = draws.below(std::size(kParts) + 2);
    if (at < std::size(kParts) || text.stops.empty()) {
      bytes += kParts[at % std::size(kParts)];
    } else {
      const std::string& stop = text.stops[draws.below(text.stops.size())];
      bytes += stop.substr(0, 1 + draws.below(stop.size()));
    }
  }
  return bytes.substr(0, static_cast<size_t>(text.generation.max_tokens));
}

/// One of the allowed tokens.
int32_t drawn_token(TokenFilter& filter, Draws& draws) {
  std::vector<int32_t> tokens;
  const auto words = filter.allowed();
  for (size_t w = 0; w < words.size(); ++w) {
    for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1)
      tokens.push_back(static_cast<int32_t>(w * 64) + std::countr_zero(bits));
  }
  require(!tokens.empty());
  return tokens[draws.below(tokens.size())];
}

/// What the engine makes of its tokens; returns the whole text.
std::string play_text(const Tokenizer& tokenizer, const ServedText& text, Draws& draws) {
  launch::StoppedText stopped(tokenizer, text.stops);
  const std::string bytes = drawn_bytes(text, draws);
  const size_t most = bytes.size();
  for (size_t i = 0; i < most; ++i) {
    TextEvent event;
    event.token.token = static_cast<uint8_t>(bytes[i]);
    if (text.generation.filter != nullptr) {
      event.token.token = drawn_token(*text.generation.filter, draws);
      text.generation.filter->accept(event.token.token);
    }
    const bool is_end = event.token.token >= 256;
    if (!is_end) event.text = stopped.push(event.token.token);
    event.finish = stopped.is_stopped() ? FinishReason::stopped
                   : is_end             ? FinishReason::end_token
                   : i + 1 == most      ? FinishReason::length
                                        : FinishReason::none;
    const bool is_last = event.finish != FinishReason::none;
    if (is_last) event.text += stopped.finish();
    if (text.generation.num_alternatives > 0) event.alternatives = {{1, -1}, {event.token.token, -2}};
    text.sink->on_token(std::move(event));
    if (is_last) break;
  }
  if (most == 0) text.sink->on_finished();
  return stopped.text();
}

/// The texts of a stream, put together.
std::vector<std::string> joined(const launch::test::KeptReply& reply, size_t num_texts) {
  std::vector<std::string> texts(num_texts);
  const auto events = reply.events();
  require(events.size() > 1 && events.back() == "[DONE]");
  for (const ordered_json& event : events) {
    if (!event.is_object() || event["choices"].empty()) continue;
    const ordered_json& choice = event["choices"][0];
    texts.at(choice["index"]) +=
        choice.contains("delta") ? choice["delta"].value("content", "") : choice["text"].get<std::string>();
  }
  return texts;
}

std::vector<std::string> whole_texts(const ordered_json& reply) {
  std::vector<std::string> texts;
  for (const ordered_json& choice : reply["choices"])
    texts.push_back(choice.contains("message") ? choice["message"]["content"] : choice["text"]);
  return texts;
}

/// As replies show text that may have bytes of no character.
std::string shown(const std::string& text) { return ordered_json::parse(launch::json_string(text)); }

}  // namespace

bool run_request(std::string_view input) {
  static launch::test::ApiRig rig;
  const char page = input.empty() ? 'c' : input.front();
  const std::string path = page == 'h'   ? "/v1/chat/completions"
                           : page == 't' ? "/tokenize"
                           : page == 'd' ? "/detokenize"
                                         : "/v1/completions";
  const int before = rig.engine.num_submissions;
  std::vector<std::string> texts;
  rig.engine.play = [&](std::vector<ServedText>& served) {
    Draws draws(input);
    for (ServedText& text : served) texts.push_back(play_text(rig.tokenizer(), text, draws));
  };
  const auto reply = rig.ask("POST", path, std::string(input.substr(std::min<size_t>(1, input.size()))));
  rig.engine.texts.clear();
  require(reply->num_answers == 1 && !find_utf8_error(reply->body));
  if (reply->status != 200) {
    require(reply->json().contains("error") && rig.engine.num_submissions == before);
    return false;
  }
  if (texts.empty()) return reply->json().is_object();
  const auto given = reply->is_stream ? joined(*reply, texts.size()) : whole_texts(reply->json());
  require(given.size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i)
    require(given[i].ends_with(shown(texts[i])));  // an echo comes before
  return true;
}

std::vector<std::string> request_seeds() {
  return {
      R"(c{"prompt":"Row, row","max_tokens":20,"stop":["a\n","\u00e9a"],"stream":true,"stream_options":{"include_usage":true}})",
      R"(c{"model":"tiny","prompt":[[97,98],[99]],"temperature":0,"max_tokens":1,"logprobs":1,"seed":1234,"echo":true})",
      R"(c{"prompt":[1,2,255],"n":3,"best_of":3,"logprobs":2,"stream":true,"echo":true,"return_token_ids":true,"stop":"\u4e16"})",
      R"(c{"prompt":"a","logit_bias":{"7":-100,"8":1.5},"top_k":-1,"min_p":0.1,"repetition_penalty":1.1,"stop_token_ids":[7],"timeout":5})",
      R"(c{"prompt":"a","max_tokens":60,"response_format":{"type":"json_object"},"stream":true})",
      R"(h{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"logprobs":true,"top_logprobs":3,"stream":true,"n":2})",
      R"(h{"messages":[{"role":"system","content":"x"},{"role":"assistant","content":"y","name":"z"}],"continue_final_message":true,"max_tokens":30,"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":["x",null]}},"required":["a"]}}}})",
      R"(h{"messages":[],"tools":[{}]})",
      R"(t{"prompt":"\u00e9\ud83d\udea2","return_token_strs":true})",
      R"(t{"messages":[{"role":"user","content":"hi"}],"add_generation_prompt":false,"chat_template_kwargs":{"shout":true}})",
      R"(d{"tokens":[1,2,257]})",
      R"(c{"prompt":"a","temperature":1e999})",
      R"(c{"prompt":"a","prompt":"b"})",
      R"(c{"prompt":"a","temprature":1})",
      "c{\"prompt\":\"\xff\"}",
      "c" + std::string(300, '['),
      "c",
      ""};
}

}  // namespace trireme::test
