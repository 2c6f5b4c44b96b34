// A model behind an HttpServer that never comes to an end.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

/// Answers "/wait" never, "/stream" without end from a thread of its own, and the rest at once. Counts who
/// leaves.
class EndlessModel {
 public:
  ~EndlessModel() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }

  HttpHandler handler() {
    return [this](const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
      take(request, std::move(reply));
    };
  }
  size_t piece_bytes = 200;  ///< of streams
  std::atomic<int> num_taken{0}, num_gone{0}, num_gone_twice{0};

 private:
  struct Text {
    std::shared_ptr<HttpReply> reply;
    std::shared_ptr<std::atomic<bool>> is_gone;
    bool is_stream = false;
  };

  void take(const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
    if (request.path != "/wait" && request.path != "/stream")
      return reply->send(200, "text/plain", request.body);
    auto is_gone = std::make_shared<std::atomic<bool>>(false);
    reply->on_gone([this, is_gone] {
      if (is_gone->exchange(true)) ++num_gone_twice;
      ++num_gone;
    });
    const bool is_stream = request.path == "/stream";
    if (is_stream) reply->begin_stream(200, "text/plain");
    ++num_taken;
    const std::lock_guard lock(mutex_);
    texts_.push_back({std::move(reply), is_gone, is_stream});
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }

  void run() {
    while (!is_over_) {
      {
        const std::lock_guard lock(mutex_);
        std::erase_if(texts_, [](const Text& text) { return text.is_gone->load(); });
        for (Text& text : texts_) {
          if (text.is_stream) text.reply->write(std::string(piece_bytes, 'x'));
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  std::mutex mutex_;
  std::deque<Text> texts_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace trireme::launch
