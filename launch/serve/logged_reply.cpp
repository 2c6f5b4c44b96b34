#include "launch/serve/logged_reply.h"

#include <atomic>
#include <utility>

#include <fmt/format.h>

#include "launch/report/visible_text.h"
#include "launch/serve/engine/text_queue.h"

namespace trireme::launch {

namespace {

class LoggedReply final : public HttpReply {
 public:
  LoggedReply(std::shared_ptr<HttpReply> reply, std::string what, std::function<void(const std::string&)> log)
      : reply_(std::move(reply)), what_(std::move(what)), log_(std::move(log)) {}
  ~LoggedReply() override {
    if (!is_logged_.exchange(true)) say("given up");
  }

  void send(int status, std::string_view content_type, std::string body, Headers headers) override {
    status_ = status;
    bytes_ += std::ssize(body);
    reply_->send(status, content_type, std::move(body), std::move(headers));
    if (!is_logged_.exchange(true)) say("whole");
  }
  void begin_stream(int status, std::string_view content_type, Headers headers) override {
    status_ = status;
    reply_->begin_stream(status, content_type, std::move(headers));
  }
  void write(std::string piece) override {
    bytes_ += std::ssize(piece);
    reply_->write(std::move(piece));
  }
  void end() override {
    reply_->end();
    if (!is_logged_.exchange(true)) say("streamed");
  }
  void on_gone(std::function<void()> callback) override { reply_->on_gone(std::move(callback)); }

 private:
  void say(const char* how) const {
    log_(fmt::format("{} {} {}, {:.3f} s, {} bytes", what_, status_.load(), how, steady_seconds() - begun_,
                     bytes_.load()));
  }

  std::shared_ptr<HttpReply> reply_;
  const std::string what_;
  const std::function<void(const std::string&)> log_;
  const double begun_ = steady_seconds();
  std::atomic<int> status_ = 0;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<bool> is_logged_ = false;
};

}  // namespace

std::shared_ptr<HttpReply> logged(std::shared_ptr<HttpReply> reply, const HttpRequest& request,
                                  std::function<void(const std::string& line)> log) {
  constexpr size_t kMost = 120;  // a path is the client's, and may be anything
  std::string what = visible(request.method.substr(0, kMost) + " " + request.path.substr(0, kMost));
  return std::make_shared<LoggedReply>(std::move(reply), std::move(what), std::move(log));
}

}  // namespace trireme::launch
