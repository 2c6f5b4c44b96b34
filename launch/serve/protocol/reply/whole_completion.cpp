// Replies that are sent when all texts have ended.
#include <utility>

#include "launch/serve/protocol/json_text.h"
#include "launch/serve/protocol/reply/completion.h"

namespace trireme::launch {
namespace {

class WholeCompletion final : public Completion {
 public:
  using Completion::Completion;

 private:
  void took(Choice& choice, const TextEvent& event) override {
    choice.text += event.text;
    if (options().has_token_ids) choice.tokens.push_back(event.token.token);
  }
  void ended(Choice&) override {}
  void all_ended() override { reply().send(200, "application/json", whole()); }
  void failed(const ApiError& error) override {
    reply().send(error.status, "application/json", json_of(error), error.headers);
  }

  std::string whole() {
    std::string out = R"({"id":)" + json_string(head().id) + R"(,"object":")" +
                      (options().is_chat ? "chat.completion" : "text_completion") + R"(","created":)";
    append_number(out, head().created);
    out += R"(,"model":)" + json_string(head().model) + R"(,"system_fingerprint":)" +
           json_string(head().fingerprint) + R"(,"choices":[)";
    for (Choice& choice : choices()) {
      if (choice.index > 0) out += ',';
      append_choice(out, choice);
    }
    return out + R"(],"usage":)" + usage() + "}";
  }

  void append_choice(std::string& out, Choice& choice) {
    out += R"({"index":)";
    append_number(out, choice.index);
    if (options().is_chat) {
      out += R"(,"message":{"role":"assistant","content":)";
      append_json_string(out, choice.text);
      out += R"(,"refusal":null})";
    } else {
      out += R"(,"text":)";
      append_json_string(out, (options().echoes ? choice.prompt->text : "") + choice.text);
    }
    out += R"(,"logprobs":)";
    out += choice.logprobs != nullptr ? choice.logprobs->take() : "null";
    out += R"(,"finish_reason":")";
    out += finish_word(choice.finish);
    out += '"';
    if (options().has_token_ids) {
      out += prompt_ids(choice) + R"(,"token_ids":)";
      append_numbers(out, choice.tokens);
    }
    out += '}';
  }
};

}  // namespace

std::shared_ptr<Completion> whole_completion(const ApiRequest& request, CompletionHead head,
                                             const Tokenizer& tokenizer, const TokenNames& names,
                                             std::shared_ptr<HttpReply> reply) {
  return std::make_shared<WholeCompletion>(request, std::move(head), tokenizer, names, std::move(reply));
}

}  // namespace trireme::launch
