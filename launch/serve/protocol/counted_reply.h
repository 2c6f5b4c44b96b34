// CountedReply: an answer that is counted in the metrics and carries the request's id.
#pragma once

#include <memory>
#include <string>

#include "launch/serve/http/http_server.h"
#include "launch/serve/metrics/serving_metrics.h"

namespace trireme::launch {

class CountedReply final : public HttpReply {
 public:
  /// `metrics` outlives it. `method` and `path` are of a known few: they label metrics.
  CountedReply(std::shared_ptr<HttpReply> reply, ServingMetrics& metrics, std::string method,
               std::string path, std::string request_id)
      : reply_(std::move(reply)),
        metrics_(metrics),
        method_(std::move(method)),
        path_(std::move(path)),
        request_id_(std::move(request_id)) {}

  void send(int status, std::string_view content_type, std::string body, Headers headers = {}) override {
    reply_->send(status, content_type, std::move(body), counted(status, std::move(headers)));
  }
  void begin_stream(int status, std::string_view content_type, Headers headers = {}) override {
    reply_->begin_stream(status, content_type, counted(status, std::move(headers)));
  }
  void write(std::string piece) override { reply_->write(std::move(piece)); }
  void end() override { reply_->end(); }
  void on_gone(std::function<void()> callback) override { reply_->on_gone(std::move(callback)); }

 private:
  Headers counted(int status, Headers headers) {
    metrics_.answered(method_, path_, status);
    headers.emplace_back("x-request-id", request_id_);
    return headers;
  }

  const std::shared_ptr<HttpReply> reply_;
  ServingMetrics& metrics_;
  const std::string method_, path_, request_id_;
};

}  // namespace trireme::launch
