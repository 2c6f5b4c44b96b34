// A line for each request that is answered.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

/// `reply`, which `log` hears of when its answer is complete or given up: method, path, status, seconds and
/// bytes; nothing that the client or the model said.
std::shared_ptr<HttpReply> logged(std::shared_ptr<HttpReply> reply, const HttpRequest& request,
                                  std::function<void(const std::string& line)> log);

}  // namespace trireme::launch
