// The server over sockets: requests and answers.
#include "launch/serve/http/http_server.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/http_client.h"

namespace trireme::launch {
namespace {

using test::get_request;
using test::HttpAnswer;
using test::HttpClient;
using test::post_request;

/// Says what it was asked; "/stream" in pieces, "/later" from another thread.
void echo(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  if (request.path == "/throw") throw std::runtime_error("a secret");
  if (request.path == "/drop") return;
  if (request.path == "/stream") {
    reply->begin_stream(200, "text/event-stream", {{"Cache-Control", "no-cache"}});
    for (const char* piece : {"one", "", "two", "three"}) reply->write(piece);
    return reply->end();
  }
  if (request.path == "/break") {
    reply->begin_stream(200, "text/event-stream");
    reply->write("one");
    throw std::runtime_error("a secret");
  }
  if (request.path == "/later") {
    std::thread([reply] { reply->send(200, "text/plain", "later"); }).detach();
    return;
  }
  reply->send(200, "text/plain",
              request.method + " " + request.path + "?" + request.query + " " + request.body,
              {{"X-Id", std::string(request.header("x-id"))}});
}

class Server : public HttpServer {
 public:
  explicit Server(HttpLimits limits = {}, HttpHandler handler = echo)
      : HttpServer("127.0.0.1", 0, limits, handler) {}
};

std::string error_of(const HttpAnswer& answer) {
  EXPECT_EQ(answer.header("Content-Type"), "application/json");
  EXPECT_TRUE(answer.body.starts_with(R"({"error":{"message":")")) << answer.body;
  return answer.body;
}

TEST(HttpServer, KeepsConnectionsAlive) {
  const Server server;
  EXPECT_GT(server.port(), 0);
  HttpClient client(server.port());
  for (int i = 0; i < 60; ++i) {
    const std::string body = std::to_string(i);
    const HttpAnswer answer = client.ask(post_request("/a%20b?c", body));
    ASSERT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "POST /a b?c " + body);
  }
  EXPECT_EQ(server.num_connections(), 1);
  const HttpAnswer last = client.ask("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(last.header("Connection"), "close");
  EXPECT_EQ(last.header("Date").size(), 29u);
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_TRUE(test::comes_true([&] { return server.num_connections() == 0; }));
}

TEST(HttpServer, AnswersOldClients) {
  const Server server;
  HttpClient closing(server.port());
  const HttpAnswer answer = closing.ask("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(answer.body, "GET /a? ");
  EXPECT_EQ(closing.read_to_end(), "");
  HttpClient streamed(server.port());
  ASSERT_TRUE(streamed.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  const HttpAnswer stream = streamed.read();
  EXPECT_EQ(stream.body, "onetwothree");
  EXPECT_EQ(stream.header("Transfer-Encoding"), "");
  HttpClient kept(server.port());
  for (int i = 0; i < 2; ++i) {
    const HttpAnswer again = kept.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(again.status, 200);
    EXPECT_EQ(again.header("Connection"), "keep-alive");
  }
}

TEST(HttpServer, StreamsInChunks) {
  const Server server;
  HttpClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    const HttpAnswer answer = client.ask(get_request("/stream"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.is_whole);
    EXPECT_EQ(answer.header("Cache-Control"), "no-cache");
    EXPECT_EQ(answer.header("Content-Length"), "");
    EXPECT_EQ(answer.chunks, (std::vector<std::string>{"one", "two", "three"}));
  }
}

TEST(HttpServer, FlushesEveryPiece) {
  std::shared_ptr<HttpReply> held;
  std::atomic<bool> is_held{false};
  Server server({}, [&](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
    held = std::move(reply);
    is_held = true;
  });
  HttpClient client(server.port());
  client.send(get_request("/"));
  ASSERT_TRUE(test::comes_true([&] { return is_held.load(); }));
  held->begin_stream(200, "text/plain");
  std::string got = client.read_some();
  EXPECT_TRUE(got.ends_with("\r\n\r\n"));
  for (int i = 0; i < 20; ++i) {  // each arrives before the next is written
    held->write(std::to_string(i));
    std::string piece;
    while (!piece.ends_with("\r\n" + std::to_string(i) + "\r\n")) {
      const std::string more = client.read_some();
      ASSERT_FALSE(more.empty());
      piece += more;
    }
  }
  held->end();
  held.reset();
  EXPECT_EQ(client.read_some(), "0\r\n\r\n");
}

TEST(HttpServer, AnswersHeadWithoutABody) {
  const Server server;
  HttpClient client(server.port());
  client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
  const HttpAnswer answer = client.read(true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Content-Length"), "9");
  client.send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.read(true).status, 200);
  EXPECT_EQ(client.ask(get_request("/b")).body, "GET /b? ");
}

TEST(HttpServer, AsksForTheBodyOfAClientThatWaits) {
  HttpLimits limits;
  limits.body_bytes = 10;
  const Server server(limits);
  HttpClient client(server.port());
  const std::string head = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
  EXPECT_EQ(client.ask(head + "3\r\n\r\n").status, 100);
  EXPECT_EQ(client.ask("abc").body, "POST /a? abc");
  EXPECT_EQ(client.ask(head + "11\r\n\r\n").status, 413) << "the client shall not send it";
  EXPECT_EQ(client.read_to_end(), "");
}

TEST(HttpServer, ReadsBodiesOfAnyLengthAndForm) {
  HttpLimits limits;
  limits.body_bytes = 3'000'000;
  const Server server(limits);
  HttpClient client(server.port());
  const std::string body(3'000'000, 'b');
  EXPECT_EQ(client.ask(post_request("/a", body)).body, "POST /a? " + body);
  EXPECT_EQ(client
                .ask("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .body,
            "POST /a? abcde");
  // A client that is in the midst of sending reads why it is refused.
  HttpClient refused(server.port());
  refused.send(post_request("/a", body + "c"));
  const HttpAnswer answer = refused.read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_NE(error_of(answer).find("3000000"), std::string::npos);
}

TEST(HttpServer, TakesRequestsByteByByte) {
  const Server server;
  HttpClient client(server.port());
  for (const char c : post_request("/a", "abc")) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.read().body, "POST /a? abc");
}

TEST(HttpServer, AnswersRequestsThatAreSentAheadInOrder) {
  const Server server;
  HttpClient client(server.port());
  std::string requests;
  for (int i = 0; i < 200; ++i)
    requests += i % 7 == 3 ? get_request("/stream") : post_request("/" + std::to_string(i), "x");
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 200; ++i) {
    const std::string expected = i % 7 == 3 ? "onetwothree" : "POST /" + std::to_string(i) + "? x";
    ASSERT_EQ(client.read().body, expected);
  }
}

TEST(HttpServer, ServesManyAtOnce) {
  const Server server;
  std::vector<std::thread> threads;
  std::atomic<int> num_right{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::vector<HttpClient> clients;
      for (int i = 0; i < 8; ++i) clients.emplace_back(server.port());
      for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 8; ++i)
          clients[static_cast<size_t>(i)].send(post_request("/" + std::to_string(8 * t + i), "x"));
        for (int i = 0; i < 8; ++i)
          num_right +=
              clients[static_cast<size_t>(i)].read().body == "POST /" + std::to_string(8 * t + i) + "? x";
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(num_right, 8 * 8 * 20);
}

TEST(HttpServer, AHandlerThatFailsKeepsItsWordsToItself) {
  const Server server;
  HttpClient client(server.port());
  for (const char* path : {"/throw", "/drop"}) {
    const HttpAnswer answer = client.ask(get_request(path));
    EXPECT_EQ(answer.status, 500) << path;
    EXPECT_EQ(error_of(answer).find("secret"), std::string::npos);
  }
  EXPECT_EQ(client.ask(get_request("/later")).body, "later");
  const HttpAnswer broken = client.ask(get_request("/break"));
  EXPECT_EQ(broken.status, 200);
  EXPECT_EQ(broken.body, "one");
  EXPECT_FALSE(broken.is_whole) << "a stream that breaks off must not look complete";
}

TEST(HttpServer, SaysWhatIsMalformedAndCloses) {
  const Server server;
  for (const char* request : {"nonsense\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01",
                              "GET / HTTP/1.1\r\n\r\n"}) {
    HttpClient client(server.port());
    const HttpAnswer answer = client.ask(request);
    EXPECT_EQ(answer.status, 400) << request;
    EXPECT_EQ(answer.header("Connection"), "close");
    error_of(answer);
    EXPECT_EQ(client.read_to_end(), "");
  }
}

TEST(HttpServer, HeadersOfAClientCannotBreakAnAnswer) {
  const Server server({}, [](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
    reply->send(200, "text/plain", "x", {{"X-Id", "1\r\nEvil: yes\r\n\r\nHTTP/1.1 200 OK"}});
  });
  HttpClient client(server.port());
  const HttpAnswer answer = client.ask(get_request("/"));
  EXPECT_EQ(answer.header("Evil"), "");
  EXPECT_EQ(answer.body, "x");
}

TEST(HttpServer, ASecondAnswerIsDropped) {
  const Server server({}, [](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
    reply->send(200, "text/plain", "first");
    reply->send(200, "text/plain", "second");
    reply->begin_stream(200, "text/plain");
    reply->write("third");
    reply->end();
  });
  HttpClient client(server.port());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ask(get_request("/")).body, "first");
}

TEST(HttpServer, ListensAtIPv6) {
  for (const char* address : {"::1", "::"}) {
    try {
      const HttpServer server(address, 0, {}, echo);
      HttpClient client;
      ASSERT_TRUE(client.connect(server.port(), true)) << address;
      EXPECT_EQ(client.ask(get_request("/a")).body, "GET /a? ");
    } catch (const EnvironmentError&) {
      GTEST_SKIP() << "no IPv6 here";
    }
  }
  try {
    const HttpServer server("::", 0, {}, echo);
    HttpClient client(server.port());
    EXPECT_EQ(client.ask(get_request("/a")).body, "GET /a? ") << ":: takes IPv4 as well";
  } catch (const EnvironmentError&) {
  }
}

TEST(HttpServer, SaysWhyItCannotListen) {
  const Server server;
  test::expect_error(ExitCode::resources, {"127.0.0.1", std::to_string(server.port()), "in use", "another"},
                     [&] { const HttpServer second("127.0.0.1", server.port(), {}, echo); });
  test::expect_error(ExitCode::resources, {"192.0.2.1", "no address of this machine"},
                     [&] { const HttpServer second("192.0.2.1", 0, {}, echo); });
  test::expect_error(ExitCode::resources, {"1.2.3.4.5", "port 80"},
                     [&] { const HttpServer second("1.2.3.4.5", 80, {}, echo); });
}

}  // namespace
}  // namespace trireme::launch
