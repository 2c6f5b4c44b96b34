// Replies as server-sent events, token by token.
#include <utility>

#include "launch/serve/protocol/json_text.h"
#include "launch/serve/protocol/reply/completion.h"

namespace trireme::launch {
namespace {

class StreamedCompletion final : public Completion {
 public:
  StreamedCompletion(const ApiRequest& request, CompletionHead head_of_all, const Tokenizer& tokenizer,
                     const TokenNames& names, std::shared_ptr<HttpReply> http)
      : Completion(request, std::move(head_of_all), tokenizer, names, std::move(http)) {
    chunk_begin_ = R"(data: {"id":)" + json_string(head().id) + R"(,"object":")" +
                   (options().is_chat ? "chat.completion.chunk" : "text_completion") + R"(","created":)";
    append_number(chunk_begin_, head().created);
    chunk_begin_ += R"(,"model":)" + json_string(head().model) + R"(,"system_fingerprint":)" +
                    json_string(head().fingerprint) + R"(,"choices":[)";
  }

 private:
  // Until there is something to send, a failure still has a status of its own.
  void ensure_begun() {
    if (std::exchange(has_begun_, true)) return;
    reply().begin_stream(200, "text/event-stream",
                         {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
  }

  void prompt_scored(Choice& choice) override {
    if (options().is_chat) {
      std::string out = begin_chunk(choice);
      out +=
          R"("delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null)";
      send_chunk(std::move(out), prompt_ids(choice));
    } else if (options().echoes) {
      send_text(choice, choice.prompt->text, {}, prompt_ids(choice));
    }
  }

  void took(Choice& choice, const TextEvent& event) override {
    std::string more;
    if (options().has_token_ids) {
      if (choice.num_tokens == 1 && !options().is_chat && !options().echoes) more = prompt_ids(choice);
      more += R"(,"token_ids":)";
      append_numbers(more, {&event.token.token, 1});
    }
    // Conversations say how a text ended in a chunk of its own.
    send_text(choice, event.text, options().is_chat ? FinishReason::none : event.finish, more);
  }

  void ended(Choice& choice) override {
    if (!options().is_chat && choice.num_tokens > 0) return;
    std::string out = begin_chunk(choice);
    out += options().is_chat ? R"("delta":{},"logprobs":null,"finish_reason":")"
                             : R"("text":"","logprobs":null,"finish_reason":")";
    out += finish_word(choice.finish);
    out += '"';
    send_chunk(std::move(out), "");
  }

  void all_ended() override {
    std::string out;
    if (options().has_usage) out = chunk_begin_ + R"(],"usage":)" + usage() + "}\n\n";
    reply().write(out + "data: [DONE]\n\n");
    reply().end();
  }

  void failed(const ApiError& error) override {
    if (!has_begun_) return reply().send(error.status, "application/json", json_of(error), error.headers);
    reply().write("data: " + json_of(error) + "\n\n");
    reply().end();
  }

  std::string begin_chunk(const Choice& choice) const {
    std::string out;
    constexpr size_t kUsual = 160;
    out.reserve(chunk_begin_.size() + kUsual);
    out += chunk_begin_;
    out += R"({"index":)";
    append_number(out, choice.index);
    out += ',';
    return out;
  }

  void send_text(Choice& choice, std::string_view text, FinishReason finish, std::string_view more) {
    std::string out = begin_chunk(choice);
    out += options().is_chat ? R"("delta":{"content":)" : R"("text":)";
    append_json_string(out, text);
    out += options().is_chat ? R"(},"logprobs":)" : R"(,"logprobs":)";
    out += choice.logprobs != nullptr ? choice.logprobs->take() : "null";
    out += R"(,"finish_reason":)";
    if (finish == FinishReason::none) {
      out += "null";
    } else {
      out += '"';
      out += finish_word(finish);
      out += '"';
    }
    send_chunk(std::move(out), more);
  }

  void send_chunk(std::string out, std::string_view more) {
    ensure_begun();
    out += more;
    out += "}]";
    if (options().repeats_usage) {
      out += R"(,"usage":)" + usage();
    } else if (options().has_usage) {
      out += R"(,"usage":null)";
    }
    out += "}\n\n";
    reply().write(std::move(out));
  }

  std::string chunk_begin_;
  bool has_begun_ = false;
};

}  // namespace

std::shared_ptr<Completion> streamed_completion(const ApiRequest& request, CompletionHead head,
                                                const Tokenizer& tokenizer, const TokenNames& names,
                                                std::shared_ptr<HttpReply> reply) {
  return std::make_shared<StreamedCompletion>(request, std::move(head), tokenizer, names, std::move(reply));
}

}  // namespace trireme::launch
