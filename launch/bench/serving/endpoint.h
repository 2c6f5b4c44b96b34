// Endpoint: where a server of OpenAI's protocol listens, and its requests as bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::launch {

struct Endpoint {
  std::string host;
  uint16_t port = 0;
  std::string prefix;   ///< of paths: what the URL has before /v1
  std::string api_key;  ///< empty: none is sent

  std::string url() const;
};

/// Of "http://host[:port][/prefix][/v1]". UserError (usage) for others, https among them.
Endpoint parse_endpoint(const std::string& url);

/// Head and body of a request; `path` begins with "/". Without a body it is a GET, else a POST of JSON.
std::string http_request(const Endpoint& endpoint, std::string_view path, std::string_view body);

/// The whole body of a GET. EnvironmentError where nobody answers within so many seconds, or not with 200.
std::string http_get(const Endpoint& endpoint, std::string_view path, double seconds);

/// The first model of /v1/models. UserError (bad input) where it lists none.
std::string first_model(const Endpoint& endpoint, double seconds);

}  // namespace trireme::launch
