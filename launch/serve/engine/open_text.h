// OpenText: a text that is being generated, and who hears of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "launch/generate/stopped_text.h"
#include "launch/serve/engine/text_queue.h"
#include "launch/serve/metrics/serving_metrics.h"

namespace trireme::launch {

/// Used by one thread at a time. Times are by steady_seconds().
class OpenText {
 public:
  /// Hears of the end just before the sink does: who has an answer may ask for the next.
  using OnEnd = std::function<void(const OpenText& text, const char* how)>;
  /// Takes all of `arrival` but its request. `tokenizer` may be null: no text then.
  OpenText(Arrival& arrival, const Tokenizer* tokenizer, OnEnd on_end = {});

  Ticket ticket() const { return ticket_; }
  bool is_over() const { return is_over_; }
  bool is_late(std::chrono::steady_clock::time_point now) const { return deadline_ && *deadline_ <= now; }

  void begin(int64_t reused_tokens, double now);
  void score_prompt(std::span<const ScoredToken> scores);
  /// Seconds since the token before; 0 of the first.
  double push(const GeneratedToken& token, double now);
  /// All places of a text of no tokens are scored.
  void complete(double now);
  void fail(TextFailure failure, const std::string& message, double now);
  const TextTimes& times() const { return times_; }

 private:
  std::string text_of(const GeneratedToken& token, FinishReason& finish);
  void end(const char* finish, const char* how, double now);

  Ticket ticket_;
  std::shared_ptr<TextSink> sink_;
  OnEnd on_end_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::optional<StoppedText> text_;
  bool includes_stop_;
  int64_t min_tokens_;
  TextTimes times_;
  double last_token_ = 0;
  bool is_over_ = false;
};

/// "client left", for logs.
const char* name_of(TextFailure failure);

}  // namespace trireme::launch
