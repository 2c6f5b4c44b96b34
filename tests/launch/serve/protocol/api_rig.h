// OpenAiApi between an engine that plays events and a reply that keeps what it is told.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/serve/protocol/openai_api.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch::test {

using nlohmann::ordered_json;

/// Bytes; 256 ends a text as </s>, 257 begins it as <s>.
class MarkedBytes final : public Tokenizer {
 public:
  using Tokenizer::encode;
  std::string_view kind() const override { return "byte"; }
  int64_t vocab_size() const override { return 258; }
  std::vector<int32_t> encode(std::string_view text, const TextOrigin&) const override {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  }
  bool is_special(int32_t id) const override { return id >= 256; }
  std::span<const int32_t> begin_ids() const override { return begin_; }
  std::optional<int32_t> end_of_text() const override { return 256; }
  size_t find_cut(std::string_view text, size_t limit) const override { return std::min(limit, text.size()); }
  std::string to_json() const override { return "{}"; }

 private:
  void append_token(std::string& out, int32_t id) const override {
    id < 256 ? void(out += static_cast<char>(id)) : void(out += id == 256 ? "</s>" : "<s>");
  }
  std::vector<int32_t> begin_{257};
};

/// Takes everything, or refuses it; `play` is called with what was submitted.
class PlayedEngine final : public TextEngine {
 public:
  Submission submit(std::vector<ServedText> submitted) override {
    if (!refusal.is_accepted) return refusal;
    texts = std::move(submitted);
    ++num_submissions;
    if (play) play(texts);
    return {true, 0, "", kTicket};
  }
  void cancel(Ticket ticket) override { cancelled.push_back(ticket); }
  EngineState state() const override { return now; }

  static constexpr Ticket kTicket = 77;
  Submission refusal{true, 0, "", 0};
  std::function<void(std::vector<ServedText>&)> play;
  EngineState now{true, ""};
  std::vector<ServedText> texts;
  std::vector<Ticket> cancelled;
  int num_submissions = 0;
};

class KeptReply final : public HttpReply {
 public:
  void send(int status_now, std::string_view type, std::string text, Headers with = {}) override {
    status = status_now, content_type = type, body = std::move(text), headers = std::move(with);
    ++num_answers;
  }
  void begin_stream(int status_now, std::string_view type, Headers with = {}) override {
    status = status_now, content_type = type, headers = std::move(with);
    is_stream = true;
    ++num_answers;
  }
  void write(std::string piece) override {
    body += piece;
    pieces.push_back(std::move(piece));
  }
  void end() override { is_ended = true; }
  void on_gone(std::function<void()> callback) override { gone = std::move(callback); }

  std::string header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return "";
  }
  ordered_json json() const { return ordered_json::parse(body); }
  /// What comes after "data: ", [DONE] among it as a string.
  std::vector<ordered_json> events() const {
    std::vector<ordered_json> events;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == std::string::npos || body.compare(at, 6, "data: ") != 0) return {"broken"};
      const std::string data = body.substr(at + 6, end - at - 6);
      events.push_back(data == "[DONE]" ? ordered_json(data) : ordered_json::parse(data));
      at = end + 2;
    }
    return events;
  }

  int status = 0, num_answers = 0;
  bool is_stream = false, is_ended = false;
  std::string content_type, body;
  Headers headers;
  std::vector<std::string> pieces;
  std::function<void()> gone;
};

inline TextEvent event_of(int32_t token, std::string text, FinishReason finish = FinishReason::none,
                          float score = -0.5f, std::vector<TokenScore> alternatives = {}) {
  return {{token, score}, std::move(text), finish, std::move(alternatives)};
}

/// Every text: `words`, a token each, the last one with `finish`.
inline std::function<void(std::vector<ServedText>&)> plays(std::string letters,
                                                           FinishReason finish = FinishReason::length) {
  return [letters = std::move(letters), finish](std::vector<ServedText>& texts) {
    for (ServedText& text : texts) {
      text.sink->on_begin(0);
      for (size_t i = 0; i < letters.size(); ++i) {
        const bool is_last = i + 1 == letters.size();
        text.sink->on_token(event_of(static_cast<uint8_t>(letters[i]), letters.substr(i, 1),
                                     is_last ? finish : FinishReason::none));
      }
    }
  };
}

constexpr const char* kChatTemplate =
    "{% for m in messages %}<{{ m.role }}{% if m.name %} {{ m.name }}{% endif %}>{{ m.content }}</>{% endfor "
    "%}"
    "{% if add_generation_prompt %}<assistant>{% if shout %}!{% endif %}{% endif %}";

class ApiRig {
 public:
  explicit ApiRig(std::vector<std::string> keys = {}, ApiLimits limits = {})
      : chat_({kChatTemplate, "template", {{"bos_token", "<s>"}, {"eos_token", "</s>"}}}, tokenizer_),
        api_(served(), limits, std::move(keys), engine, metrics_) {}

  std::shared_ptr<KeptReply> ask(const std::string& method, const std::string& path,
                                 const std::string& body = "",
                                 std::vector<std::pair<std::string, std::string>> headers = {}) {
    HttpRequest request{
        .method = method, .path = path, .query = "", .headers = std::move(headers), .body = body};
    if (method == "POST" && request.header("content-type").empty())
      request.headers.emplace_back("Content-Type", "application/json");
    auto reply = std::make_shared<KeptReply>();
    api_.handle(std::move(request), reply);
    return reply;
  }
  std::shared_ptr<KeptReply> post(const std::string& path, const ordered_json& body) {
    return ask("POST", path, body.dump());
  }
  const Tokenizer& tokenizer() const { return tokenizer_; }

  PlayedEngine engine;
  static constexpr int64_t kLongest = 64;

 private:
  ServedModel served() {
    ServedModel model;
    model.name = "tiny";
    model.tokenizer = &tokenizer_;
    model.chat = &chat_;
    model.end_tokens = {256};
    model.vocab_size = 258;
    model.max_seq_len = kLongest;
    model.created = 1700000000;
    std::vector<std::string> bytes(258);
    for (int b = 0; b < 256; ++b) bytes[static_cast<size_t>(b)] = std::string(1, static_cast<char>(b));
    model.masks = std::make_shared<TokenMasks>(std::move(bytes));
    return model;
  }

  MarkedBytes tokenizer_;
  ChatFormat chat_;
  ServingMetrics metrics_{"tiny"};
  OpenAiApi api_;
};

}  // namespace trireme::launch::test
