// Exchange: one request's answer on its way from any thread to its connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "launch/serve/http/http_server.h"
#include "launch/serve/http/reply_text.h"

namespace trireme::launch {

/// Threads that answer write here, already as bytes of HTTP; the connection's thread is woken once for what
/// has gathered until it takes it, so that the pieces of one moment are one send.
class Exchange {
 public:
  /// `wake`: the connection shall take(); called under this exchange's lock, never after the answer was taken
  /// whole or gone().
  Exchange(ReplyTerms terms, std::function<void()> wake);

  void send(int status, std::string_view content_type, const std::string& body,
            const HttpReply::Headers& headers);
  void begin_stream(int status, std::string_view content_type, const HttpReply::Headers& headers);
  void write(std::string_view piece);
  void end();
  void on_gone(std::function<void()> callback);
  /// Nobody will answer any more: 500 where nothing was said, else the stream breaks off.
  void give_up();

  struct Output {
    std::string bytes;
    bool is_stream = false;
    bool is_complete = false;  ///< these were the last
    bool ends_connection = false;
  };
  /// By the connection, as the rest.
  Output take();
  /// The client has left.
  void gone();

 private:
  enum class Phase : uint8_t { unanswered, streaming, ended };
  void begin(int status, std::string_view content_type, const HttpReply::Headers& headers,
             std::optional<size_t> length);
  void finish();
  void notify();
  bool is_silent() const { return terms_.is_head || has_no_body_; }

  std::mutex mutex_;
  ReplyTerms terms_;
  std::function<void()> wake_;
  std::function<void()> on_gone_;
  Phase phase_ = Phase::unanswered;
  bool is_stream_ = false, has_no_body_ = false, is_broken_ = false;
  bool is_gone_ = false, is_woken_ = false;
  std::string queued_;
};

/// What a handler holds: the last of its owners to let go gives the exchange up.
std::shared_ptr<HttpReply> reply_of(std::shared_ptr<Exchange> exchange);

}  // namespace trireme::launch
