// ApiError: what a client is told when its request is not served.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

/// Thrown by everything that reads a request; becomes OpenAI's {"error": {...}}.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param = "";  ///< the field; empty: null
  std::string code = "";   ///< empty: null
  HttpReply::Headers headers = {};
};

/// {"error":{"message":...,"type":...,"param":...,"code":...}}
std::string json_of(const ApiError& error);

/// Throws a 400 that names `param`.
template <class... Args>
[[noreturn]] void refuse(const std::string& param, fmt::format_string<Args...> format, Args&&... args) {
  throw ApiError{.message = fmt::format(format, std::forward<Args>(args)...), .param = param};
}

}  // namespace trireme::launch
