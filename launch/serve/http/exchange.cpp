#include "launch/serve/http/exchange.h"

#include <optional>
#include <utility>

namespace trireme::launch {

Exchange::Exchange(ReplyTerms terms, std::function<void()> wake) : terms_(terms), wake_(std::move(wake)) {}

void Exchange::notify() {
  if (std::exchange(is_woken_, true) || !wake_) return;
  wake_();
}

void Exchange::begin(int status, std::string_view content_type, const HttpReply::Headers& headers,
                     std::optional<size_t> length) {
  has_no_body_ = status == 204 || status == 304;
  // A stream of HTTP/1.0 ends with its connection.
  if (!length && !terms_.is_http11) terms_.keeps_alive = false;
  queued_ = reply_head(terms_, status, content_type, headers, length);
}

void Exchange::finish() {
  phase_ = Phase::ended;
  notify();
}

void Exchange::send(int status, std::string_view content_type, const std::string& body,
                    const HttpReply::Headers& headers) {
  std::function<void()> callback;  // goes after the lock: it may hold the last reply
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::unanswered || is_gone_) return;
  callback = std::exchange(on_gone_, nullptr);
  begin(status, content_type, headers, body.size());
  if (!is_silent()) queued_ += body;
  finish();
}

void Exchange::begin_stream(int status, std::string_view content_type, const HttpReply::Headers& headers) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::unanswered || is_gone_) return;
  phase_ = Phase::streaming;
  is_stream_ = true;
  begin(status, content_type, headers, {});
  notify();
}

void Exchange::write(std::string_view piece) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming || is_gone_ || is_silent()) return;
  if (terms_.is_http11) {
    append_chunk(queued_, piece);
  } else {
    queued_ += piece;
  }
  notify();
}

void Exchange::end() {
  std::function<void()> callback;
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming || is_gone_) return;
  callback = std::exchange(on_gone_, nullptr);
  if (terms_.is_http11 && !is_silent()) queued_ += last_chunk;
  finish();
}

void Exchange::on_gone(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::ended) return;
    if (!is_gone_) {
      on_gone_.swap(callback);
      return;
    }
  }
  callback();
}

void Exchange::give_up() {
  send(500, "application/json", error_body(500, "the server failed to answer this request"), {});
  std::function<void()> callback;
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming || is_gone_) return;
  callback = std::exchange(on_gone_, nullptr);
  is_broken_ = true;
  finish();
}

Exchange::Output Exchange::take() {
  std::function<void()> wake;
  const std::lock_guard lock(mutex_);
  is_woken_ = false;
  Output output{std::exchange(queued_, {}), is_stream_, phase_ == Phase::ended,
                phase_ == Phase::ended && (is_broken_ || !terms_.keeps_alive)};
  if (output.is_complete) wake.swap(wake_);
  return output;
}

void Exchange::gone() {
  std::function<void()> callback, wake;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_gone_, true)) return;
    callback = std::exchange(on_gone_, nullptr);
    wake.swap(wake_);
    queued_.clear();
  }
  if (callback) callback();
}

namespace {

class ExchangeReply final : public HttpReply {
 public:
  explicit ExchangeReply(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ExchangeReply() override { exchange_->give_up(); }

  void send(int status, std::string_view content_type, std::string body, Headers headers) override {
    exchange_->send(status, content_type, body, headers);
  }
  void begin_stream(int status, std::string_view content_type, Headers headers) override {
    exchange_->begin_stream(status, content_type, headers);
  }
  void write(std::string piece) override { exchange_->write(piece); }
  void end() override { exchange_->end(); }
  void on_gone(std::function<void()> callback) override { exchange_->on_gone(std::move(callback)); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace

std::shared_ptr<HttpReply> reply_of(std::shared_ptr<Exchange> exchange) {
  return std::make_shared<ExchangeReply>(std::move(exchange));
}

}  // namespace trireme::launch
