// Clients that leave, dawdle, or are too many.
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "launch/serve/http/http_server.h"
#include "tests/launch/serve/http/endless_model.h"
#include "tests/support/http_client.h"

namespace trireme::launch {
namespace {

using test::comes_true;
using test::get_request;
using test::HttpClient;
using test::post_request;

TEST(HttpClients, OneThatLeavesIsNoticedWhileItsAnswerIsComputed) {
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, {}, model.handler());
  int expected = 0;
  for (const char* path : {"/wait", "/stream"}) {
    for (int way = 0; way < 3; ++way) {
      HttpClient client(server.port());
      ASSERT_TRUE(client.send(post_request(path, "abc")));
      ASSERT_TRUE(comes_true([&] { return model.num_taken == expected + 1; }));
      if (way == 0) client.close();
      if (way == 1) client.reset();
      if (way == 2) client.half_close();  // cannot be told from a close
      ASSERT_TRUE(comes_true([&] { return model.num_gone == expected + 1; })) << path << way;
      ++expected;
    }
  }
  EXPECT_EQ(model.num_gone_twice, 0);
  EXPECT_TRUE(comes_true([&] { return server.num_connections() == 0; }));
}

TEST(HttpClients, OneThatHasLeftIsSaidAtOnceAndOnlyOnce) {
  std::shared_ptr<HttpReply> held;
  std::atomic<bool> is_held{false};
  HttpServer server("127.0.0.1", 0, {}, [&](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
    held = std::move(reply);
    is_held = true;
  });
  {
    HttpClient client(server.port());
    client.send(get_request("/"));
    ASSERT_TRUE(comes_true([&] { return is_held.load(); }));
  }
  ASSERT_TRUE(comes_true([&] { return server.num_connections() == 0; }));
  int calls = 0;
  held->on_gone([&] { ++calls; });
  EXPECT_EQ(calls, 1);
  held->begin_stream(200, "text/plain");
  held->write("nobody reads it");
  held->end();
  EXPECT_EQ(calls, 1);
  server.stop(0);
  held->on_gone([&] { ++calls; });  // replies outlive servers
  held.reset();
}

TEST(HttpClients, NobodyIsGoneWhoHasHisAnswer) {
  std::atomic<int> num_gone{0};
  {
    const HttpServer server("127.0.0.1", 0, {}, [&](const HttpRequest&, std::shared_ptr<HttpReply> reply) {
      reply->on_gone([&num_gone, reply] { ++num_gone; });  // a circle, which the answer opens
      reply->begin_stream(200, "text/plain");
      reply->write("x");
      reply->end();
    });
    HttpClient client(server.port());
    EXPECT_TRUE(client.ask(get_request("/")).is_whole);
  }
  EXPECT_EQ(num_gone, 0);
}

TEST(HttpClients, ThousandsThatLeaveAtAnyMomentHarmNobody) {
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, {}, model.handler());
  std::vector<std::thread> threads;
  std::atomic<int> num_asked{0}, num_right{0}, num_whole{0};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand draw(t + 1);
      HttpClient steady(server.port());
      for (int i = 0; i < 250; ++i) {
        HttpClient client(server.port());
        const bool is_stream = draw() % 2 == 0;
        const std::string request =
            post_request(is_stream ? "/stream" : "/wait", std::string(draw() % 5000, 'b'));
        const unsigned moment = draw() % 4;
        // Before the head is complete, in the body, while it is computed, in the stream.
        if (moment == 0) client.send(request.substr(0, draw() % 40));
        if (moment == 1) client.send(request.substr(0, 60 + draw() % (request.size() - 60)));
        if (moment >= 2) client.send(request);
        if (moment == 3 && is_stream) client.read_some();
        if (moment >= 2) ++num_asked;
        draw() % 2 == 0 ? client.reset() : client.close();
        if (i % 10 == 0) {
          ++num_whole;
          num_right += steady.ask(post_request("/echo", "x")).body == "x";
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(num_right, num_whole);
  EXPECT_TRUE(comes_true([&] { return server.num_connections() == 0; }));
  EXPECT_LE(model.num_taken, num_asked);
  EXPECT_TRUE(comes_true([&] { return model.num_gone == model.num_taken; }))
      << model.num_gone << " " << model.num_taken;
  EXPECT_GT(model.num_gone, 0);
  EXPECT_EQ(model.num_gone_twice, 0);
}

TEST(HttpClients, SlowReadersAreCutOffByWhatLies) {
  HttpLimits limits;
  limits.pending_bytes = 100'000;
  EndlessModel model;
  model.piece_bytes = 20'000;
  const HttpServer server("127.0.0.1", 0, limits, model.handler());
  HttpClient slow(server.port(), 4096);
  slow.send(get_request("/stream"));
  EXPECT_TRUE(comes_true([&] { return model.num_gone == 1; }));
}

TEST(HttpClients, SlowReadersAreCutOffByTime) {
  HttpLimits limits;
  limits.write_seconds = 0.2;
  const HttpServer server(
      "127.0.0.1", 0, limits, [](const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
        reply->send(200, "text/plain", std::string(request.path == "/long" ? 20 << 20 : 1, 'x'));
      });
  HttpClient slow(server.port(), 4096);
  slow.send(get_request("/long"));
  EXPECT_TRUE(comes_true([&] { return server.num_connections() == 1; }));
  {
    HttpClient other(server.port());
    EXPECT_EQ(other.ask(get_request("/")).body, "x") << "others do not wait for it";
  }
  EXPECT_TRUE(comes_true([&] { return server.num_connections() == 0; }));
  EXPECT_FALSE(slow.read().is_whole);
}

TEST(HttpClients, LongAnswersReachWhoReads) {
  HttpLimits limits;
  limits.pending_bytes = 1000;
  const HttpServer server("127.0.0.1", 0, limits,
                          [](const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
                            const std::string body(8 << 20, 'x');
                            if (request.path == "/whole") return reply->send(200, "text/plain", body);
                            reply->begin_stream(200, "text/plain");
                            reply->write(body);
                            reply->end();
                          });
  HttpClient client(server.port());
  for (const char* path : {"/whole", "/piece"})
    EXPECT_EQ(client.ask(get_request(path)).body.size(), size_t{8 << 20}) << path;
}

TEST(HttpClients, DawdlersAreToldOrClosed) {
  HttpLimits limits;
  limits.header_seconds = 0.1;
  limits.idle_seconds = 0.1;
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, limits, model.handler());
  for (const char* part : {"GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc"}) {
    HttpClient client(server.port());
    EXPECT_EQ(client.ask(part).status, 408) << part;
    EXPECT_EQ(client.read_to_end(), "");
  }
  HttpClient idle(server.port());
  EXPECT_EQ(idle.read_to_end(), "") << "closed without a word";
  HttpClient between(server.port());
  EXPECT_EQ(between.ask(post_request("/", "x")).body, "x");
  EXPECT_EQ(between.read_to_end(), "");
  // One that sends a byte now and then does not get more time (slowloris).
  HttpClient dripping(server.port());
  const std::string head = "GET / HTTP/1.1\r\nHost: " + std::string(10000, 'a');
  size_t at = 0;
  while (at < head.size() && server.num_connections() > 0 && dripping.send({&head[at], 1})) {
    ++at;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_LT(at, head.size());
}

TEST(HttpClients, TooManyAreToldSo) {
  HttpLimits limits;
  limits.connections = 3;
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, limits, model.handler());
  std::vector<HttpClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(server.port());
    ASSERT_EQ(clients.back().ask(post_request("/", "x")).status, 200);
  }
  for (int i = 0; i < 5; ++i) {
    HttpClient refused(server.port());
    const auto answer = refused.ask(post_request("/", "x"));
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.header("Retry-After"), "1");
  }
  EXPECT_EQ(server.num_connections(), 3);
  clients.front().close();
  EXPECT_TRUE(comes_true([&] { return server.num_connections() == 2; }));
  clients.emplace_back(server.port());
  EXPECT_EQ(clients.back().ask(post_request("/", "x")).status, 200);
}

TEST(HttpClients, RequestsSentAheadAreBounded) {
  HttpLimits limits;
  limits.body_bytes = 1000;
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, limits, model.handler());
  HttpClient client(server.port());
  ASSERT_TRUE(client.send(get_request("/wait")));
  for (int i = 0; i < 10'000 && client.send(post_request("/", std::string(900, 'x'))); ++i) {
  }
  EXPECT_TRUE(comes_true([&] { return model.num_gone == 1; }));
}

TEST(HttpClients, WaitWhereDescriptorsAreUsedUp) {
  EndlessModel model;
  const HttpServer server("127.0.0.1", 0, {}, model.handler());
  std::vector<HttpClient> clients(8);
  for (auto& client : clients) client.open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(0);
  ::close(next);
  const rlimit few{static_cast<rlim_t>(next) + 2, before.rlim_max};  // two of the server's at most
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  int num_connected = 0;
  for (auto& client : clients) num_connected += client.connect(server.port());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_LT(server.num_connections(), 8);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(num_connected, 8);
  for (auto& client : clients) EXPECT_EQ(client.ask(post_request("/", "x")).body, "x");
}

}  // namespace
}  // namespace trireme::launch
