#include "launch/serve/front_door.h"

#include <utility>

#include "launch/serve/logged_reply.h"
#include "launch/serve/protocol/api_error.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

void answer_that_it_loads(const HttpRequest& request, HttpReply& reply) {
  const std::string why = "the model is being loaded";
  const std::string body =
      request.path == "/health"
          ? R"({"status":")" + why + R"("})"
          : json_of(ApiError{.status = 503, .message = why, .type = "server_error", .code = "unavailable"});
  reply.send(503, "application/json", body, {{"Retry-After", "5"}});
}

}  // namespace

FrontDoor::FrontDoor(const ServeArguments& arguments, std::function<void(const std::string& line)> log)
    : limits_(arguments.api),
      logs_requests_(arguments.logs_requests),
      log_(std::move(log)),
      server_(arguments.address, arguments.port, arguments.http,
              [this](HttpRequest request, std::shared_ptr<HttpReply> reply) {
                answer(std::move(request), std::move(reply));
              }) {}

void FrontDoor::answer(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  if (logs_requests_) reply = logged(std::move(reply), request, log_);
  OpenAiApi* const api = opened_.load();
  if (api == nullptr) return answer_that_it_loads(request, *reply);
  api->handle(std::move(request), std::move(reply));
}

void FrontDoor::open(ServedModel model, std::vector<std::string> keys, TextEngine& engine,
                     ServingMetrics& metrics) {
  TRIREME_CHECK(!api_);
  opened_ = &api_.emplace(std::move(model), limits_, std::move(keys), engine, metrics);
}

void FrontDoor::close() {
  constexpr double kLastWords = 5;
  server_.drain();
  server_.stop(kLastWords);
}

}  // namespace trireme::launch
