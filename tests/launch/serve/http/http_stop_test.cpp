// How a server ends.
#include <dirent.h>

#include <atomic>
#include <mutex>
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

size_t num_entries(const char* folder) {
  size_t count = 0;
  DIR* dir = ::opendir(folder);
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

TEST(HttpStop, StopEndsStreamsAndLeavesNothing) {
  const size_t descriptors = num_entries("/proc/self/fd"), threads = num_entries("/proc/self/task");
  for (int round = 0; round < 3; ++round) {
    EndlessModel model;
    HttpServer server("127.0.0.1", 0, {}, model.handler());
    std::vector<HttpClient> clients;
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back(server.port());
      clients.back().send(i < 2   ? get_request("/wait")
                          : i < 4 ? get_request("/stream")
                          : i < 5 ? "GET / HT"
                                  : "");
    }
    ASSERT_TRUE(comes_true([&] { return model.num_taken == 4 && server.num_connections() == 6; }));
    if (round == 0) server.stop(0);
    if (round == 1) server.drain();
    if (round == 1) server.stop(0.05);
    if (round < 2) {
      EXPECT_EQ(model.num_gone, 4);
      EXPECT_EQ(server.num_connections(), 0);
      server.stop(1);  // again
      server.drain();
    }
  }
  EXPECT_EQ(num_entries("/proc/self/fd"), descriptors);
  EXPECT_TRUE(comes_true([&] { return num_entries("/proc/self/task") == threads; }));
}

TEST(HttpStop, DrainLetsAnswersEndAndTakesNoMore) {
  std::vector<std::shared_ptr<HttpReply>> held;
  std::atomic<int> num_held{0};
  std::mutex mutex;
  HttpServer server("127.0.0.1", 0, {}, [&](const HttpRequest& request, std::shared_ptr<HttpReply> reply) {
    if (request.path == "/stream") reply->begin_stream(200, "text/plain");
    const std::lock_guard lock(mutex);
    held.push_back(std::move(reply));
    ++num_held;
  });
  HttpClient streamed(server.port()), idle(server.port()), begun(server.port());
  streamed.send(get_request("/stream") + get_request("/next"));
  begun.send("GET / HT");
  ASSERT_TRUE(comes_true([&] { return num_held == 1 && server.num_connections() == 3; }));
  server.drain();
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_TRUE(comes_true([&] { return server.num_connections() <= 2; }));
  HttpClient late(server.port());
  EXPECT_EQ(late.ask(get_request("/")).status, 0);
  std::thread model([&] {
    for (int i = 0; i < 10; ++i) held[0]->write("x");
    held[0]->end();
  });
  server.stop(30);
  model.join();
  const auto answer = streamed.read();
  EXPECT_TRUE(answer.is_whole);
  EXPECT_EQ(answer.body, "xxxxxxxxxx");
  EXPECT_EQ(streamed.read_to_end(), "") << "the next request is not taken";
  EXPECT_EQ(num_held, 1);
}

}  // namespace
}  // namespace trireme::launch
