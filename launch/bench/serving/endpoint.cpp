#include "launch/bench/serving/endpoint.h"

#include <fmt/format.h>
#include <poll.h>
#include <nlohmann/json.hpp>

#include "launch/bench/serving/completion_events.h"
#include "launch/bench/serving/http_connection.h"
#include "launch/bench/serving/http_response.h"
#include "launch/bench/serving/wall_clock.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

/// The port behind the last colon of an authority; 0: it is none.
uint16_t port_of(const std::string& digits) {
  if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos)
    return 0;
  const int port = std::stoi(digits);
  return port < 1 << 16 ? static_cast<uint16_t>(port) : uint16_t{0};
}

/// Takes the body of one answer.
class WholeAnswer : public HttpUser {
 public:
  bool take(std::string_view bytes) override {
    reader.feed(bytes);
    return reader.is_complete();
  }
  void lost(const std::string& why) override {
    reader.close();
    trouble = why;
  }
  bool has_bytes() const override { return reader.status() != 0; }
  bool keeps_alive() const override { return reader.keeps_alive(); }

  std::string body, trouble;
  HttpResponseReader reader{[this](std::string_view piece) { body += piece; }};
};

}  // namespace

std::string Endpoint::url() const { return fmt::format("http://{}:{}{}", host, port, prefix); }

Endpoint parse_endpoint(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  if (url.starts_with("https://"))
    throw_usage(
        "--url {}: this client speaks HTTP without TLS: give the server's own address, behind the proxy",
        url);
  if (!url.starts_with(kScheme)) throw_usage("--url {}: it has to begin with http://", url);
  const size_t slash = std::min(url.find('/', kScheme.size()), url.size());
  Endpoint endpoint;
  endpoint.host = url.substr(kScheme.size(), slash - kScheme.size());
  endpoint.port = 80;
  const size_t colon = endpoint.host.rfind(':');
  if (colon != std::string::npos && endpoint.host.back() != ']') {
    endpoint.port = port_of(endpoint.host.substr(colon + 1));
    endpoint.host.resize(colon);
  }
  if (endpoint.host.empty() || endpoint.port == 0)
    throw_usage("--url {}: it has to be http://HOST:PORT, the port from 1 to 65535", url);
  endpoint.prefix = url.substr(slash);
  while (endpoint.prefix.ends_with('/')) endpoint.prefix.pop_back();
  if (endpoint.prefix.ends_with("/v1")) endpoint.prefix.resize(endpoint.prefix.size() - 3);
  return endpoint;
}

std::string http_request(const Endpoint& endpoint, std::string_view path, std::string_view body) {
  std::string request = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}:{}\r\n", body.empty() ? "GET" : "POST",
                                    endpoint.prefix, path, endpoint.host, endpoint.port);
  if (!endpoint.api_key.empty()) request += fmt::format("Authorization: Bearer {}\r\n", endpoint.api_key);
  if (!body.empty())
    request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  request += "\r\n";
  request += body;
  return request;
}

std::string http_get(const Endpoint& endpoint, std::string_view path, double seconds) {
  HttpConnection connection(endpoint);
  WholeAnswer answer;
  connection.begin(http_request(endpoint, path, ""), answer);
  const WallClock watch;
  while (!connection.is_idle()) {
    if (watch.seconds() > seconds)
      throw_environment("{}{}: no answer within {} s", endpoint.url(), path, seconds);
    pollfd wanted = connection.wanted();
    ::poll(&wanted, 1, 100);
    if (wanted.revents != 0) connection.progress();
  }
  if (!answer.trouble.empty()) throw_environment("{}{}: {}", endpoint.url(), path, answer.trouble);
  if (!answer.reader.trouble().empty())
    throw_environment("{}{}: {}", endpoint.url(), path, answer.reader.trouble());
  if (answer.reader.status() != 200)
    throw_environment("{}{}: HTTP {}: {}", endpoint.url(), path, answer.reader.status(),
                      error_message(answer.body));
  return answer.body;
}

std::string first_model(const Endpoint& endpoint, double seconds) {
  const auto json = nlohmann::ordered_json::parse(http_get(endpoint, "/v1/models", seconds), nullptr, false);
  const auto* data = json.is_object() && json.contains("data") ? &json["data"] : nullptr;
  if (data == nullptr || !data->is_array() || data->empty() || !(*data)[0].is_object() ||
      !(*data)[0].contains("id") || !(*data)[0]["id"].is_string())
    throw_user(ExitCode::bad_input, "{}/v1/models lists no model: name one by --model", endpoint.url());
  return (*data)[0]["id"].get<std::string>();
}

}  // namespace trireme::launch
