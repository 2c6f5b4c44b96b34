#include "launch/serve/protocol/reply/completion.h"

#include <utility>

#include "launch/serve/protocol/json_text.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

/// What a client is told of a text that ended before its time.
ApiError error_of(TextFailure failure, const std::string& message) {
  ApiError error{.status = 500, .message = message, .type = "server_error", .code = "failed"};
  switch (failure) {
    case TextFailure::deadline:
      error.status = 504;
      error.type = "timeout_error";
      error.code = "deadline_exceeded";
      if (message.empty()) error.message = "the time of the request was over before its text was";
      error.headers = {{"x-should-retry", "false"}};  // asked again it would take as long
      break;
    case TextFailure::cancelled:
      error.status = 499;
      error.code = "cancelled";
      if (message.empty()) error.message = "the client has left";
      break;
    case TextFailure::stopping:
    case TextFailure::stuck:
      error.status = 503;
      error.code = failure == TextFailure::stopping ? "stopping" : "stuck";
      if (message.empty())
        error.message =
            failure == TextFailure::stopping ? "the server ends" : "the model has not answered in time";
      error.headers = {{"Retry-After", "10"}};
      break;
    case TextFailure::failed:
      if (message.empty()) error.message = "the model failed";
  }
  return error;
}

}  // namespace

class Completion::Sink final : public TextSink {
 public:
  Sink(std::shared_ptr<Completion> owner, size_t choice) : owner_(std::move(owner)), choice_(choice) {}

  void on_begin(int64_t reused_tokens) override {
    tell([&](Choice& choice) { owner_->begin(choice, reused_tokens); });
  }
  void on_prompt_scores(std::span<const ScoredToken> scores) override {
    tell([&](Choice& choice) { owner_->score(choice, scores); });
  }
  void on_token(TextEvent event) override {
    tell([&](Choice& choice) { owner_->take(choice, event); });
  }
  void on_finished() override {
    tell([&](Choice& choice) {
      choice.finish = FinishReason::length;
      owner_->score_first(choice);
      owner_->finish(choice);
    });
  }
  void on_failed(TextFailure failure, const std::string& message) override {
    tell([&](Choice&) { owner_->fail(error_of(failure, message)); });
    owner_->cancel_others();
  }

 private:
  template <class Say>
  void tell(const Say& say) {
    const std::lock_guard lock(owner_->mutex_);
    Choice& choice = owner_->choices_[choice_];
    if (!owner_->is_over_ && !choice.is_over) say(choice);
  }

  const std::shared_ptr<Completion> owner_;
  const size_t choice_;
};

Completion::Completion(const ApiRequest& request, CompletionHead head, const Tokenizer& tokenizer,
                       const TokenNames& names, std::shared_ptr<HttpReply> reply)
    : options_(request.reply),
      tokenizer_(tokenizer),
      specials_(request.keeps_specials ? SpecialTokens::keep : SpecialTokens::skip),
      head_(std::move(head)),
      prompts_(request.prompts),
      n_(request.n),
      reply_(std::move(reply)) {
  for (const ApiPrompt& prompt : prompts_) {
    for (int64_t i = 0; i < n_; ++i) {
      Choice choice;
      choice.index = std::ssize(choices_);
      choice.prompt = &prompt;
      if (options_.logprobs) {
        choice.logprobs = make_logprob_text(options_.is_chat, names, options_.names_ids);
        if (!options_.is_chat) choice.places.emplace(tokenizer);
      }
      choices_.push_back(std::move(choice));
    }
  }
  num_running_ = std::ssize(choices_);
}

std::shared_ptr<TextSink> Completion::sink(int64_t choice) {
  return std::make_shared<Sink>(shared_from_this(), static_cast<size_t>(choice));
}

std::string Completion::prompt_ids(const Choice& choice) const {
  std::string out;
  if (!options_.has_token_ids) return out;
  out = R"(,"prompt_token_ids":)";
  append_numbers(out, choice.prompt->tokens);
  return out;
}

std::string Completion::usage() const {
  int64_t prompt = 0, reused = 0, generated = 0;
  for (const Choice& choice : choices_) {
    generated += choice.num_tokens;
    if (choice.index % n_ != 0) continue;  // a prompt counts once, however many its texts
    prompt += std::ssize(choice.prompt->tokens);
    reused += choice.reused_tokens;
  }
  return fmt::format(
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}},)"
      R"("completion_tokens_details":{{"reasoning_tokens":0}}}})",
      prompt, generated, prompt + generated, reused);
}

void Completion::begin(Choice& choice, int64_t reused_tokens) {
  choice.reused_tokens = reused_tokens;
  begun(choice);
}

// The settled text is counted, so that a token which begins inside a character has that character's place.
int64_t Completion::place_of(Choice& choice, int32_t token) {
  const int64_t place = choice.offset;
  if (choice.places) choice.offset += num_code_points(choice.places->push(token));
  return place;
}

// What the tokenizer puts before a text is not in it.
void Completion::score_first(Choice& choice) {
  if (!options_.echoes || choice.logprobs == nullptr || choice.num_scored > 0) return;
  choice.num_scored = 1;
  const int32_t token = choice.prompt->tokens.front();
  choice.logprobs->add_first(token, choice.prompt->num_added > 0 ? 0 : place_of(choice, token));
}

void Completion::score(Choice& choice, std::span<const ScoredToken> scores) {
  if (!options_.echoes || choice.logprobs == nullptr) return;
  score_first(choice);
  for (const ScoredToken& scored : scores) {
    const bool is_added = std::cmp_less(choice.num_scored, choice.prompt->num_added);
    const int64_t place = is_added ? 0 : place_of(choice, scored.token.token);
    choice.logprobs->add(scored.token, scored.alternatives, place);
    ++choice.num_scored;
  }
}

void Completion::take(Choice& choice, const TextEvent& event) {
  if (choice.num_tokens == 0) {
    score_first(choice);
    prompt_scored(choice);
    if (options_.echoes) choice.offset = num_code_points(choice.prompt->text);
    if (choice.places) choice.places.emplace(tokenizer_, specials_);  // the text is decoded by itself
  }
  ++choice.num_tokens;
  if (choice.logprobs != nullptr)
    choice.logprobs->add(event.token, event.alternatives, place_of(choice, event.token.token));
  took(choice, event);
  choice.finish = event.finish;
  if (event.finish != FinishReason::none) finish(choice);
}

void Completion::finish(Choice& choice) {
  choice.is_over = true;
  if (choice.num_tokens == 0) prompt_scored(choice);
  ended(choice);
  if (--num_running_ > 0) return;
  is_over_ = true;
  all_ended();
}

void Completion::fail(const ApiError& error) {
  is_over_ = true;
  has_failed_ = num_running_ > 1;
  failed(error);
}

void Completion::when_failed(std::function<void()> cancel) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_over_ || has_failed_) cancel_ = std::move(cancel);
  }
  cancel_others();
}

// Outside of the lock: the engine has its own.
void Completion::cancel_others() {
  std::function<void()> cancel;
  {
    const std::lock_guard lock(mutex_);
    if (has_failed_) cancel.swap(cancel_);
  }
  if (cancel) cancel();
}

std::string_view finish_word(FinishReason finish) {
  return finish == FinishReason::length ? "length" : "stop";
}

}  // namespace trireme::launch
