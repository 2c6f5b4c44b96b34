#include "launch/serve/http/request_reader.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>

#include "launch/serve/http/body_reader.h"
#include "launch/serve/http/request_target.h"

namespace trireme::launch {

namespace http = boost::beast::http;

struct RequestReader::Parser {
  http::request_parser<http::empty_body> parser;  ///< of the head
  RequestTarget target;
  std::optional<BodyReader> body;
};

namespace {

std::string_view std_view(boost::beast::string_view text) { return {text.data(), text.size()}; }

/// Of method names (RFC 9110, 5.6.2).
bool is_method_character(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

/// Whether the first line of a request ends with "HTTP/" and a version.
bool names_a_version(std::string_view line) {
  const auto is_digit = [&](size_t from_end) {
    return line[line.size() - from_end] >= '0' && line[line.size() - from_end] <= '9';
  };
  return line.size() > 8 && line.substr(line.size() - 8).starts_with("HTTP/") && is_digit(3) && is_digit(1);
}

bool equals_header(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equals_header(key, name)) return value;
  }
  return {};
}

RequestReader::RequestReader(const HttpLimits& limits) : limits_(limits) {}
RequestReader::~RequestReader() = default;

void RequestReader::append(std::string_view bytes) { buffer_ += bytes; }

bool RequestReader::has_begun() const { return parser_ != nullptr || !buffer_.empty(); }

RequestReader::State RequestReader::refuse(int status, std::string message) {
  refusal_ = {status, std::move(message)};
  return State::refused;
}

RequestReader::State RequestReader::refuse_body(bool is_line) {
  if (is_line)
    return refuse(431, fmt::format("a line between chunks is longer than this server's {} bytes",
                                   limits_.header_bytes));
  return refuse(413, fmt::format("the body is longer than this server's {} bytes", limits_.body_bytes));
}

RequestReader::State RequestReader::advance() {
  if (!refusal_.message.empty()) return State::refused;
  if (parser_ == nullptr) {
    const State state = read_head();
    if (state != State::complete) return state;
  }
  return read_body();
}

RequestReader::State RequestReader::read_head() {
  // Empty lines before a request are passed over (RFC 9112, 2.2).
  size_t empty = 0;
  while (buffer_.compare(empty, 2, "\r\n") == 0) empty += 2;
  buffer_.erase(0, empty);
  if (buffer_.empty() || buffer_ == "\r") return State::needs_bytes;
  if (!is_method_character(buffer_.front()))
    return refuse(400, "malformed HTTP: this is plain HTTP; TLS is what a proxy in front of the server does");
  constexpr std::string_view end = "\r\n\r\n";
  const size_t found = buffer_.find(end, searched_ - std::min<size_t>(searched_, end.size() - 1));
  searched_ = buffer_.size();
  const auto limit = static_cast<size_t>(limits_.header_bytes);
  // Whether it is too long, and what, does not depend on how much has come.
  if (found == std::string::npos ? buffer_.size() >= limit + end.size() : found > limit) {
    if (std::string_view(buffer_).substr(0, limit).find("\r\n") == std::string::npos)
      return refuse(414, fmt::format("the first line is longer than this server's {} bytes", limit));
    return refuse(431, fmt::format("the head of the request is longer than this server's {} bytes", limit));
  }
  if (found == std::string::npos) return State::needs_bytes;
  parser_ = std::make_unique<Parser>();
  auto& parser = parser_->parser;
  parser.header_limit(static_cast<uint32_t>(limit + end.size()));
  parser.body_limit(std::numeric_limits<uint64_t>::max());  // the body is not its matter
  boost::beast::error_code error;
  size_t used = 0;
  while (!error && !parser.is_header_done())
    used += parser.put(boost::asio::buffer(buffer_.data() + used, found + end.size() - used), error);
  if (error == http::error::bad_version && names_a_version(buffer_.substr(0, buffer_.find("\r\n"))))
    return refuse(505, "this server speaks HTTP/1.0 and HTTP/1.1");
  if (error) return refuse(400, fmt::format("malformed HTTP: {}", error.message()));
  buffer_.erase(0, used);
  searched_ = 0;
  was_asked_ = false;
  return check_head();
}

RequestReader::State RequestReader::check_head() {
  const auto& head = parser_->parser.get();
  auto target = parse_target(std_view(head.target()));
  if (!target) return refuse(400, "malformed HTTP: the target is no path, or its percent-encoding is wrong");
  parser_->target = std::move(*target);
  if (head.count(http::field::transfer_encoding) > 0) {
    // What follows could be taken for another request otherwise.
    if (head.version() < 11) return refuse(400, "malformed HTTP: Transfer-Encoding needs HTTP/1.1");
    if (head.count(http::field::transfer_encoding) > 1 ||
        !equals_header(std_view(head[http::field::transfer_encoding]), "chunked"))
      return refuse(501, "this server reads bodies in the transfer encoding \"chunked\" alone");
  }
  const auto num_hosts = head.count(http::field::host);
  if (num_hosts > 1 || (num_hosts == 0 && head.version() >= 11))
    return refuse(400, "malformed HTTP: HTTP/1.1 asks for one header Host");
  const auto expect = head.find(http::field::expect);
  if (expect != head.end() && !equals_header(std_view(expect->value()), "100-continue"))
    return refuse(417, "this server knows one expectation, 100-continue");
  std::optional<uint64_t> length;
  if (!parser_->parser.chunked()) length = parser_->parser.content_length().value_or(0);
  if (length.value_or(0) > static_cast<uint64_t>(limits_.body_bytes)) return refuse_body(false);
  parser_->body.emplace(length, static_cast<size_t>(limits_.body_bytes),
                        static_cast<size_t>(limits_.header_bytes));
  return State::complete;
}

RequestReader::State RequestReader::read_body() {
  const size_t before = buffer_.size();
  switch (parser_->body->read(buffer_)) {
    case BodyReader::State::complete:
      return State::complete;
    case BodyReader::State::too_long:
      return refuse_body(false);
    case BodyReader::State::long_line:
      return refuse_body(true);
    case BodyReader::State::malformed:
      return refuse(400, "malformed HTTP: a chunk of the body");
    case BodyReader::State::needs_bytes:
      break;
  }
  const auto& head = parser_->parser.get();
  const bool asks = head.version() >= 11 && head.count(http::field::expect) > 0;
  if (!asks || std::exchange(was_asked_, true)) return State::needs_bytes;
  return before == 0 ? State::wants_continue : State::needs_bytes;
}

IncomingRequest RequestReader::take() {
  const auto& message = parser_->parser.get();
  IncomingRequest incoming;
  incoming.is_http11 = message.version() >= 11;
  incoming.keeps_alive = parser_->parser.keep_alive();
  HttpRequest& request = incoming.request;
  request.method = std_view(message.method_string());
  request.path = std::move(parser_->target.path);
  request.query = std::move(parser_->target.query);
  for (const auto& field : message)
    request.headers.emplace_back(std_view(field.name_string()), std_view(field.value()));
  request.body = std::move(parser_->body->body());
  parser_.reset();
  return incoming;
}

}  // namespace trireme::launch
