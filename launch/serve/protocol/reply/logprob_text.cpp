#include "launch/serve/protocol/reply/logprob_text.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "launch/serve/protocol/json_text.h"

namespace trireme::launch {
namespace {

class CompletionLogprobs final : public LogprobText {
 public:
  CompletionLogprobs(const TokenNames& names, bool names_ids) : names_(names), names_ids_(names_ids) {}

  void add_first(int32_t token, int64_t offset) override {
    begin_token(name(token), offset);
    scores_ += "null";
    tops_ += "null";
  }

  void add(const TokenScore& token, std::span<const TokenScore> alternatives, int64_t offset) override {
    const std::string own = name(token.token);
    begin_token(own, offset);
    append_score(scores_, token.log_probability);
    used_.clear();
    tops_ += '{';
    bool is_among = false;
    for (const TokenScore& other : alternatives) {
      is_among = is_among || other.token == token.token;
      add_top(other, other.token == token.token ? own : unused_name(other.token, own));
    }
    if (!is_among) add_top(token, own);
    tops_ += '}';
  }

  std::string take() override {
    std::string out = R"({"tokens":[)";
    for (const auto& [begin, list] : {std::pair{"", &tokens_},
                                      {R"(],"token_logprobs":[)", &scores_},
                                      {R"(],"top_logprobs":[)", &tops_},
                                      {R"(],"text_offset":[)", &offsets_}}) {
      out += begin;
      out += *list;
      list->clear();
    }
    return out += "]}";
  }

 private:
  std::string name(int32_t token) const { return names_ids_ ? TokenNames::by_id(token) : names_.name(token); }

  // Names are keys: of tokens that decode to the same text the one of the text keeps it, then the likeliest.
  std::string unused_name(int32_t token, const std::string& own) const {
    std::string wanted = name(token);
    const bool is_used = wanted == own || std::ranges::find(used_, wanted) != used_.end();
    return is_used ? TokenNames::by_id(token) : wanted;
  }

  void begin_token(const std::string& name, int64_t offset) {
    if (!tokens_.empty()) {
      for (std::string* list : {&tokens_, &scores_, &tops_, &offsets_}) *list += ',';
    }
    append_json_string(tokens_, name);
    append_number(offsets_, offset);
  }

  void add_top(const TokenScore& token, std::string name) {
    if (!used_.empty()) tops_ += ',';
    append_json_string(tops_, name);
    tops_ += ':';
    append_score(tops_, token.log_probability);
    used_.push_back(std::move(name));
  }

  const TokenNames& names_;
  const bool names_ids_;
  std::string tokens_, scores_, tops_, offsets_;
  std::vector<std::string> used_;
};

class ChatLogprobs final : public LogprobText {
 public:
  ChatLogprobs(const TokenNames& names, bool names_ids) : names_(names), names_ids_(names_ids) {}

  void add_first(int32_t, int64_t) override {}  // conversations are not repeated

  void add(const TokenScore& token, std::span<const TokenScore> alternatives, int64_t) override {
    if (!content_.empty()) content_ += ',';
    add_token(token);
    content_ += R"(,"top_logprobs":[)";
    for (size_t i = 0; i < alternatives.size(); ++i) {
      if (i > 0) content_ += ',';
      add_token(alternatives[i]);
      content_ += '}';
    }
    content_ += "]}";
  }

  std::string take() override {
    std::string out = R"({"content":[)" + content_ + R"(],"refusal":null})";
    content_.clear();
    return out;
  }

 private:
  void add_token(const TokenScore& token) {
    const std::string bytes = names_.bytes(token.token);
    content_ += R"({"token":)";
    append_json_string(content_,
                       names_ids_ ? TokenNames::by_id(token.token) : TokenNames::name_of(token.token, bytes));
    content_ += R"(,"logprob":)";
    append_score(content_, token.log_probability);
    content_ += R"(,"bytes":[)";
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i > 0) content_ += ',';
      append_number(content_, static_cast<uint8_t>(bytes[i]));
    }
    content_ += ']';
  }

  const TokenNames& names_;
  const bool names_ids_;
  std::string content_;
};

}  // namespace

std::unique_ptr<LogprobText> make_logprob_text(bool is_chat, const TokenNames& names, bool names_ids) {
  if (is_chat) return std::make_unique<ChatLogprobs>(names, names_ids);
  return std::make_unique<CompletionLogprobs>(names, names_ids);
}

}  // namespace trireme::launch
