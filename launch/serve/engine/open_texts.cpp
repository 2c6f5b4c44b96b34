#include "launch/serve/engine/open_texts.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

namespace trireme::launch {

OpenText* OpenTexts::find(int64_t number) {
  const auto found = texts_.find(number);
  return found == texts_.end() ? nullptr : &found->second;
}

/// A sink or tokenizer that throws costs its own text alone: other ranks are in the middle of a pass.
template <class Call>
void OpenTexts::guarded(OpenText& text, Call&& call) {
  try {
    call();
  } catch (const std::exception& error) {
    try {
      text.fail(TextFailure::failed, error.what(), steady_seconds());
    } catch (const std::exception&) {
      // It has heard of it, or never will.
    }
  }
}

OpenText::OnEnd OpenTexts::accounting() {
  return [this](const OpenText& text, const char* how) { account(text, how); };
}

void OpenTexts::account(const OpenText& text, const char* how) {
  const TextTimes& t = text.times();
  metrics_.text_ended(t);
  queue_.text_ended();
  if (!log_) return;
  const auto since = [&](double time) { return time > 0 ? time - t.arrived : 0; };
  log_(fmt::format(
      "text of request {}: {} after {:.3f} s; begun {:.3f}, first token {:.3f}; prompt {} ({} reused), {} "
      "of {} new tokens",
      text.ticket(), how, since(t.ended), since(t.begun), since(t.first_token), t.prompt_tokens,
      t.reused_tokens, t.generated_tokens, t.max_tokens));
}

/// What happens to a text that goes on, unless its sink throws.
template <class Call>
void OpenTexts::hear(int64_t number, Call&& call) {
  const std::lock_guard lock(mutex_);
  OpenText* text = find(number);
  if (text == nullptr || text->is_over()) return;
  guarded(*text, [&] { call(*text); });
  if (text->is_over()) failed_.push_back(number);
}

void OpenTexts::expect(Arrival& arrival) {
  const std::lock_guard lock(mutex_);
  expected_.emplace_back(arrival, tokenizer_, accounting());
}

void OpenTexts::add(int64_t number) {
  const std::lock_guard lock(mutex_);
  const OpenText& text = texts_.try_emplace(number, std::move(expected_.front())).first->second;
  expected_.pop_front();
  if (text.is_over()) failed_.push_back(number);
}

void OpenTexts::refuse(TextFailure failure, const std::string& message) {
  const std::lock_guard lock(mutex_);
  fail(expected_.front(), failure, message);
  expected_.pop_front();
}

void OpenTexts::refuse(Arrival& arrival, TextFailure failure, const std::string& message) {
  const std::lock_guard lock(mutex_);
  OpenText text(arrival, nullptr, accounting());
  fail(text, failure, message);
}

bool OpenTexts::fail(OpenText& text, TextFailure failure, const std::string& message) {
  if (text.is_over()) return false;
  guarded(text, [&] { text.fail(failure, message, steady_seconds()); });
  return true;
}

void OpenTexts::fail(int64_t number, OpenText& text, TextFailure failure, const std::string& message) {
  if (fail(text, failure, message)) failed_.push_back(number);
}

void OpenTexts::fail_gone(const std::vector<Ticket>& gone) {
  if (gone.empty()) return;
  const std::lock_guard lock(mutex_);
  for (auto& [number, text] : texts_) {
    if (std::ranges::count(gone, text.ticket()) > 0)
      fail(number, text, TextFailure::cancelled, "the client has left");
  }
}

void OpenTexts::fail_late(std::chrono::steady_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  for (auto& [number, text] : texts_) {
    if (text.is_late(now)) fail(number, text, TextFailure::deadline, "the request's time is over");
  }
}

void OpenTexts::fail_all(TextFailure failure, const std::string& message) {
  const std::lock_guard lock(mutex_);
  for (auto& [number, text] : texts_) fail(number, text, failure, message);
  for (OpenText& text : expected_) fail(text, failure, message);
}

std::vector<int64_t> OpenTexts::take_failed() {
  const std::lock_guard lock(mutex_);
  for (const int64_t number : failed_) texts_.erase(number);
  return std::exchange(failed_, {});
}

void OpenTexts::ended(int64_t number) {
  const std::lock_guard lock(mutex_);
  OpenText* text = find(number);
  if (text == nullptr) return;
  // One of no tokens is complete now.
  if (!text->is_over()) guarded(*text, [&] { text->complete(steady_seconds()); });
  std::erase(failed_, number);
  texts_.erase(number);
}

bool OpenTexts::is_empty() const {
  const std::lock_guard lock(mutex_);
  return texts_.empty();
}

bool OpenTexts::on_token(const GeneratedToken& token) {
  metrics_.token();
  const std::lock_guard lock(mutex_);
  OpenText* text = find(token.request);
  if (text == nullptr || text->is_over()) return true;
  double gap = 0;
  guarded(*text, [&] { gap = text->push(token, steady_seconds()); });
  if (gap > 0) metrics_.token_gap(gap);
  return text->is_over();
}

void OpenTexts::on_begin(int64_t request, int64_t reused_tokens) {
  hear(request, [&](OpenText& text) { text.begin(reused_tokens, steady_seconds()); });
}

void OpenTexts::on_prompt_scores(int64_t request, std::span<const ScoredToken> scores) {
  hear(request, [&](OpenText& text) { text.score_prompt(scores); });
}

void OpenTexts::on_preempted(int64_t /*request*/, int64_t lost_tokens) {
  const std::lock_guard lock(mutex_);
  ++preempted_.sequences;
  preempted_.tokens += lost_tokens;
}

void OpenTexts::on_failed(int64_t request, const std::exception_ptr& error) {
  hear(request, [&](OpenText&) { std::rethrow_exception(error); });
}

OpenTexts::Preempted OpenTexts::take_preempted() {
  const std::lock_guard lock(mutex_);
  return std::exchange(preempted_, {});
}

}  // namespace trireme::launch
