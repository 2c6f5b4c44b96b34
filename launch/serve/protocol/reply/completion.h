// Completion: what becomes of the texts of one request, as it is told to the client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launch/serve/engine/text_engine.h"
#include "launch/serve/http/http_server.h"
#include "launch/serve/protocol/api_error.h"
#include "launch/serve/protocol/reply/logprob_text.h"
#include "launch/serve/protocol/request/api_request.h"

namespace trireme::launch {

/// What all chunks and replies of a request have in common.
struct CompletionHead {
  std::string id;  ///< "cmpl-..." or "chatcmpl-..."
  int64_t created = 0;
  std::string model, fingerprint;
};

/// Told by its sinks on the engine's thread, where each token costs a few microseconds. Lives as long as one
/// of them.
class Completion : public std::enable_shared_from_this<Completion> {
 public:
  /// `tokenizer` and `names` outlive it.
  Completion(const ApiRequest& request, CompletionHead head, const Tokenizer& tokenizer,
             const TokenNames& names, std::shared_ptr<HttpReply> reply);
  virtual ~Completion() = default;

  /// Of text number `choice`.
  std::shared_ptr<TextSink> sink(int64_t choice);
  /// `cancel` is called when one of several texts fails, at once where one has: the others are for nobody.
  void when_failed(std::function<void()> cancel);

 protected:
  struct Choice {
    int64_t index = 0;
    const ApiPrompt* prompt = nullptr;
    std::string text;  ///< of whole replies
    std::vector<int32_t> tokens;
    int64_t num_tokens = 0, reused_tokens = 0;
    FinishReason finish = FinishReason::none;
    bool is_over = false;
    std::unique_ptr<LogprobText> logprobs;  ///< null: none are asked for
    std::optional<TextStream> places;       ///< settled text, for offsets
    int64_t offset = 0;                     ///< of the next token, in code points
    size_t num_scored = 0;                  ///< tokens of the prompt
  };

  // Called one at a time; what is to be said to the client.
  virtual void begun(Choice&) {}
  virtual void prompt_scored(Choice&) {}
  virtual void took(Choice& choice, const TextEvent& event) = 0;
  virtual void ended(Choice& choice) = 0;
  virtual void all_ended() = 0;
  virtual void failed(const ApiError& error) = 0;

  const ReplyOptions& options() const { return options_; }
  const CompletionHead& head() const { return head_; }
  HttpReply& reply() { return *reply_; }
  std::vector<Choice>& choices() { return choices_; }
  /// ,"prompt_token_ids":[...] where asked for.
  std::string prompt_ids(const Choice& choice) const;
  /// {"prompt_tokens":...}
  std::string usage() const;

 private:
  class Sink;
  void begin(Choice& choice, int64_t reused_tokens);
  void score(Choice& choice, std::span<const ScoredToken> scores);
  void take(Choice& choice, const TextEvent& event);
  void finish(Choice& choice);
  void fail(const ApiError& error);
  void cancel_others();
  void score_first(Choice& choice);
  int64_t place_of(Choice& choice, int32_t token);

  const ReplyOptions options_;
  const Tokenizer& tokenizer_;
  const SpecialTokens specials_;
  const CompletionHead head_;
  const std::vector<ApiPrompt> prompts_;
  const int64_t n_;
  const std::shared_ptr<HttpReply> reply_;
  std::mutex mutex_;
  std::vector<Choice> choices_;
  int64_t num_running_ = 0;
  bool is_over_ = false, has_failed_ = false;
  std::function<void()> cancel_;
};

/// "stop" or "length".
std::string_view finish_word(FinishReason finish);

/// Answers at once, when the last text has ended.
std::shared_ptr<Completion> whole_completion(const ApiRequest& request, CompletionHead head,
                                             const Tokenizer& tokenizer, const TokenNames& names,
                                             std::shared_ptr<HttpReply> reply);
/// Answers token by token, in server-sent events.
std::shared_ptr<Completion> streamed_completion(const ApiRequest& request, CompletionHead head,
                                                const Tokenizer& tokenizer, const TokenNames& names,
                                                std::shared_ptr<HttpReply> reply);

}  // namespace trireme::launch
