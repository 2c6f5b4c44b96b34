// Requests out of bytes: what is read, what is refused and how.
#include "launch/serve/http/request_reader.h"

#include <gtest/gtest.h>

#include "launch/serve/http/reply_text.h"
#include "launch/serve/http/request_target.h"
#include "tests/support/http_client.h"

namespace trireme::launch {
namespace {

using State = RequestReader::State;

HttpLimits small_limits() {
  HttpLimits limits;
  limits.body_bytes = 20;
  limits.header_bytes = 200;
  return limits;
}

struct Refused {
  const char* what;
  std::string request;
  int status;
};

std::vector<Refused> refused_requests() {
  const std::string host = "Host: a\r\n";
  return {
      {"no HTTP", "hello\r\n\r\n", 400},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
      {"a NUL", std::string("\0\r\n\r\n", 5), 400},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", 505},
      {"no version", "GET /\r\n\r\n", 400},
      {"lines of LF", "GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400},
      {"a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"a NUL in a value", std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30), 400},
      {"no colon", "GET / HTTP/1.1\r\n" + host + "nonsense\r\n\r\n", 400},
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"bad percent", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", 400},
      {"cut percent", "GET /%2 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"NUL in the path", "GET /a%00b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"line end in the path", "GET /a%0d%0ab HTTP/1.1\r\n" + host + "\r\n", 400},
      {"no UTF-8 in the path", "GET /%ff HTTP/1.1\r\n" + host + "\r\n", 400},
      {"no path", "GET a/b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"long target", "GET /" + std::string(250, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"long target without end", "GET /" + std::string(250, 'a'), 414},
      {"long header", "GET / HTTP/1.1\r\nX: " + std::string(250, 'a') + "\r\n\r\n", 431},
      {"many headers",
       "GET / HTTP/1.1\r\n" + host + host + host + host + host + host + host + host + host +
           std::string(150, 'x'),
       431},
      {"bad length", "POST / HTTP/1.1\r\n" + host + "Content-Length: x\r\n\r\n", 400},
      {"negative length", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"length beyond numbers",
       "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"length and chunks",
       "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"chunks and length",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
      {"another coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"a coding without chunks", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", 501},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"another expectation", "POST / HTTP/1.1\r\n" + host + "Expect: wonders\r\n\r\n", 417},
      {"long body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 21\r\n\r\n", 413},
      {"very long body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {"long chunk", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n015\r\n", 413},
      {"chunks that are long together",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\nb\r\n", 413},
      {"a chunk's size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"a chunk's size beyond numbers",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
      {"a chunk's end", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n",
       400},
      {"a chunk's long extension",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(300, 'a'), 431},
      {"endless trailers",
       "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + std::string(300, 'a'),
       431},
  };
}

TEST(RequestReader, RefusesWithTheRightStatus) {
  for (const auto& [what, request, status] : refused_requests()) {
    SCOPED_TRACE(what);
    RequestReader reader(small_limits());
    reader.append(request);
    ASSERT_EQ(reader.advance(), State::refused);
    EXPECT_EQ(reader.refusal().status, status) << reader.refusal().message;
    EXPECT_EQ(reader.advance(), State::refused) << "it reads on";
  }
}

TEST(RequestReader, RefusesByteByByteAlike) {
  for (const auto& [what, request, status] : refused_requests()) {
    SCOPED_TRACE(what);
    RequestReader reader(small_limits());
    State state = State::needs_bytes;
    for (size_t i = 0; i < request.size() && state != State::refused; ++i) {
      reader.append({&request[i], 1});
      state = reader.advance();
      ASSERT_TRUE(state == State::needs_bytes || state == State::refused);
    }
    ASSERT_EQ(state, State::refused);
    EXPECT_EQ(reader.refusal().status, status) << reader.refusal().message;
  }
}

TEST(RequestReader, ReadsARequest) {
  RequestReader reader(small_limits());
  reader.append(
      "\r\nPOST /v1/a%20b%C3%A9?x=%20&y HTTP/1.1\r\nhost: h\r\nX-Id:  7 \r\nCONTENT-length: "
      "3\r\n\r\nabcGET ");
  ASSERT_EQ(reader.advance(), State::complete);
  const IncomingRequest incoming = reader.take();
  EXPECT_EQ(incoming.request.method, "POST");
  EXPECT_EQ(incoming.request.path, "/v1/a bé");
  EXPECT_EQ(incoming.request.query, "x=%20&y");
  EXPECT_EQ(incoming.request.header("x-id"), "7");
  EXPECT_EQ(incoming.request.header("none"), "");
  EXPECT_EQ(incoming.request.body, "abc");
  EXPECT_TRUE(incoming.is_http11 && incoming.keeps_alive);
  EXPECT_EQ(reader.num_buffered(), 4u);
  EXPECT_EQ(reader.advance(), State::needs_bytes);
  EXPECT_TRUE(reader.has_begun());
}

TEST(RequestReader, ReadsChunksInAnyPieces) {
  const std::string request =
      "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n";
  for (size_t piece = 1; piece <= request.size(); ++piece) {
    RequestReader reader(small_limits());
    State state = State::needs_bytes;
    for (size_t at = 0; at < request.size(); at += piece) {
      ASSERT_EQ(state, State::needs_bytes);
      reader.append(std::string_view(request).substr(at, piece));
      state = reader.advance();
    }
    ASSERT_EQ(state, State::complete) << piece;
    EXPECT_EQ(reader.take().request.body, "abc0123456789");
    EXPECT_FALSE(reader.has_begun());
  }
}

TEST(RequestReader, SaysOnceThatTheClientWaits) {
  RequestReader reader(small_limits());
  reader.append("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
  EXPECT_EQ(reader.advance(), State::wants_continue);
  EXPECT_EQ(reader.advance(), State::needs_bytes);
  reader.append("abc");
  ASSERT_EQ(reader.advance(), State::complete);
  EXPECT_EQ(reader.take().request.body, "abc");
  reader.append("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(reader.advance(), State::wants_continue);
  reader.append("1\r\na\r\n0\r\n\r\n");
  ASSERT_EQ(reader.advance(), State::complete);
  EXPECT_EQ(reader.take().request.body, "a");
  // One that does not wait after all.
  reader.append("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\na");
  EXPECT_EQ(reader.advance(), State::needs_bytes);
}

TEST(RequestReader, KeepsAliveAsTheClientSays) {
  const auto keeps = [](const std::string& head) {
    RequestReader reader(small_limits());
    reader.append(head);
    EXPECT_EQ(reader.advance(), State::complete);
    return reader.take().keeps_alive;
  };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST(RequestTarget, HasItsForms) {
  EXPECT_EQ(parse_target("http://host:1/a/b?c=d")->path, "/a/b");
  EXPECT_EQ(parse_target("http://host?c=d")->query, "c=d");
  EXPECT_EQ(parse_target("http://host")->path, "/");
  EXPECT_EQ(parse_target("*")->path, "*");
  EXPECT_EQ(parse_target("/a?b?c")->query, "b?c");
  EXPECT_EQ(parse_target("/%F0%9F%98%80")->path, "/\xf0\x9f\x98\x80");
  for (const char* bad :
       {"", "a", "://a", "/%", "/%a", "/%80", "/%C0%80", "/%ED%A0%80", "/%F4%90%80%80", "/%7f", "/%C3"})
    EXPECT_FALSE(parse_target(bad)) << bad;
}

TEST(ReplyText, HeadersStayWithinTheirLines) {
  const std::string head =
      reply_head({}, 200, "text/plain\r\nEvil: 1",
                 {{"X-Id", "a\r\nEvil: 2\n\r\n\0x"}, {"Evil\r\nName", "3"}, {"", "4"}}, 3);
  EXPECT_EQ(head.find("\r\nEvil"), std::string::npos) << head;
  EXPECT_EQ(head.find("\r\n\r\n"), head.size() - 4) << head;
  EXPECT_NE(head.find("X-Id: a  Evil: 2"), std::string::npos) << head;
  EXPECT_EQ(error_body(400, "a \"b\"\n\\"),
            R"({"error":{"message":"a \"b\" \\","type":"invalid_request_error","param":null,"code":null}})");
}

}  // namespace
}  // namespace trireme::launch
