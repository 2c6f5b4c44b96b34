// FrontDoor: HTTP in front of a model, also while that is being loaded.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/serve/http/http_server.h"
#include "launch/serve/protocol/openai_api.h"
#include "launch/serve/serve.h"

namespace trireme::launch {

class FrontDoor {
 public:
  /// Listens at once, so that a port that is taken is known before a model is loaded, and answers 503 until
  /// open(). `log` takes lines of requests where they are asked for. EnvironmentError of HttpServer.
  FrontDoor(const ServeArguments& arguments, std::function<void(const std::string& line)> log);

  /// Once: from here on the api answers. All that is given by reference or pointer outlives close().
  void open(ServedModel model, std::vector<std::string> keys, TextEngine& engine, ServingMetrics& metrics);
  uint16_t port() const { return server_.port(); }
  /// What has been said reaches its clients, unless they are slow. Afterwards nothing asks the engine.
  void close();

 private:
  void answer(HttpRequest request, std::shared_ptr<HttpReply> reply);

  const ApiLimits limits_;
  const bool logs_requests_;
  const std::function<void(const std::string&)> log_;
  std::optional<OpenAiApi> api_;
  std::atomic<OpenAiApi*> opened_ = nullptr;  ///< api_, once it is whole
  HttpServer server_;                         ///< the last: its threads use all the others
};

}  // namespace trireme::launch
