#include "tests/fuzz/http_case.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "launch/serve/http/request_reader.h"

namespace trireme::test {

namespace {

using launch::RequestReader;

void must(bool condition) {
  if (!condition) std::abort();
}

launch::HttpLimits limits_of_fuzzing() {
  launch::HttpLimits limits;
  limits.body_bytes = 300;
  limits.header_bytes = 400;
  return limits;
}

std::string text_of(const launch::IncomingRequest& incoming) {
  const auto& request = incoming.request;
  must(request.body.size() <= 300);
  must(request.path.starts_with('/') || request.path == "*");
  must(std::ranges::none_of(request.path, [](unsigned char c) { return c < 0x20 || c == 0x7f; }));
  std::string text = fmt::format("{} {} {} {} {} {}\n", incoming.is_http11, incoming.keeps_alive,
                                 request.method, request.path, request.query, request.body);
  for (const auto& [name, value] : request.headers) {
    must(std::ranges::none_of(value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; }));
    text += name + ":" + value + "\n";
  }
  return text;
}

struct Outcome {
  std::vector<std::string> requests;
  int refused = 0;
};

/// Takes pieces of 1 to `longest` bytes.
Outcome read_in_pieces(std::string_view input, size_t longest) {
  RequestReader reader(limits_of_fuzzing());
  Outcome outcome;
  size_t length = longest;
  while (!input.empty()) {
    reader.append(input.substr(0, length));
    input.remove_prefix(std::min(length, input.size()));
    length = length % longest + 1;
    for (RequestReader::State state = reader.advance();; state = reader.advance()) {
      if (state == RequestReader::State::complete) outcome.requests.push_back(text_of(reader.take()));
      if (state == RequestReader::State::refused) outcome.refused = reader.refusal().status;
      if (state == RequestReader::State::refused) return outcome;
      if (state == RequestReader::State::needs_bytes) break;
    }
  }
  return outcome;
}

}  // namespace

bool run_http(std::string_view input) {
  const Outcome whole = read_in_pieces(input, std::max<size_t>(input.size(), 1));
  for (const size_t longest : {size_t{1}, size_t{7}}) {
    const Outcome pieces = read_in_pieces(input, longest);
    must(pieces.requests == whole.requests && pieces.refused == whole.refused);
  }
  return !whole.requests.empty();
}

std::vector<std::string> http_seeds() {
  const std::string host = "Host: a\r\n";
  const std::string chunked = "POST /c HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n";
  return {
      "POST /v1/a%20%C3%A9?b=c HTTP/1.1\r\n" + host +
          "Content-Length: 3\r\nX-Id: 7\r\n\r\nabcGET / HTTP/1.1\r\n" + host + "\r\n",
      chunked + "\r\n3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
      chunked + "Expect: 100-continue\r\n\r\n0\r\n\r\n",
      "GET http://h/p HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD * HTTP/1.1\r\n" + host + "\r\n",
      "GET /%zz HTTP/1.1\r\n" + host + "\r\n",
      "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "POST / HTTP/1.1\r\n" + host + "Content-Length: 3, 3\r\nX: a\r\n folded\r\n\r\nabc",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01",
      "",
      chunked + "\r\n8;x=\"\r\n1\rabc\r\n\r\n",  // an extension that does not end
      chunked + "\r\nfffffffffffffffff\r\n",
  };
}

}  // namespace trireme::test
