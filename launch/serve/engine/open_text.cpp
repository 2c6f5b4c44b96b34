#include "launch/serve/engine/open_text.h"

#include <utility>

namespace trireme::launch {

const char* name_of(TextFailure failure) {
  switch (failure) {
    case TextFailure::cancelled:
      return "client left";
    case TextFailure::deadline:
      return "deadline";
    case TextFailure::stopping:
      return "stopping";
    case TextFailure::stuck:
      return "stuck";
    case TextFailure::failed:
      break;
  }
  return "failed";
}

OpenText::OpenText(Arrival& arrival, const Tokenizer* tokenizer, OnEnd on_end)
    : ticket_(arrival.ticket),
      sink_(std::move(arrival.text.sink)),
      on_end_(std::move(on_end)),
      deadline_(arrival.text.deadline),
      includes_stop_(arrival.text.includes_stop),
      min_tokens_(arrival.text.generation.min_tokens) {
  times_.arrived = arrival.arrived;
  times_.prompt_tokens = std::ssize(arrival.text.generation.prompt);
  times_.max_tokens = arrival.text.generation.max_tokens;
  if (tokenizer == nullptr) return;
  text_.emplace(*tokenizer, std::move(arrival.text.stops),
                arrival.text.keeps_specials ? SpecialTokens::keep : SpecialTokens::skip, includes_stop_);
}

void OpenText::begin(int64_t reused_tokens, double now) {
  if (times_.begun > 0 || is_over_) return;  // it begins again after it had to make room
  times_.begun = now;
  times_.reused_tokens = reused_tokens;
  sink_->on_begin(reused_tokens);
}

void OpenText::score_prompt(std::span<const ScoredToken> scores) {
  if (!is_over_) sink_->on_prompt_scores(scores);
}

// No stop string is looked for in the first min_tokens; an end token is text only where stops are.
std::string OpenText::text_of(const GeneratedToken& token, FinishReason& finish) {
  std::string piece;
  if (!text_) return piece;
  if (token.finish != FinishReason::end_token || includes_stop_) {
    piece = token.index < min_tokens_ ? text_->push_unsearched(token.sampled.token)
                                      : text_->push(token.sampled.token);
  }
  if (!text_->is_stopped() && finish != FinishReason::none) piece += text_->finish();
  if (text_->is_stopped()) finish = FinishReason::stopped;
  return piece;
}

double OpenText::push(const GeneratedToken& token, double now) {
  if (is_over_) return 0;
  TextEvent event;
  event.token = token.sampled;
  event.finish = token.finish;
  event.text = text_of(token, event.finish);
  event.alternatives.assign(token.alternatives.begin(), token.alternatives.end());
  const double gap = last_token_ > 0 ? now - last_token_ : 0;
  if (times_.first_token == 0) times_.first_token = now;
  last_token_ = now;
  ++times_.generated_tokens;
  const char* finish = event.finish == FinishReason::length ? "length" : "stop";
  if (event.finish != FinishReason::none) end(finish, finish, now);
  sink_->on_token(std::move(event));
  return gap;
}

void OpenText::complete(double now) {
  if (is_over_) return;
  end("length", "length", now);
  sink_->on_finished();
}

void OpenText::fail(TextFailure failure, const std::string& message, double now) {
  if (is_over_) return;
  const bool is_error = failure == TextFailure::failed || failure == TextFailure::stuck;
  end(is_error ? "error" : "abort", name_of(failure), now);
  sink_->on_failed(failure, message);
}

void OpenText::end(const char* finish, const char* how, double now) {
  is_over_ = true;
  times_.ended = now;
  times_.finish = finish;
  if (on_end_) on_end_(*this, how);
}

}  // namespace trireme::launch
