#include "tests/launch/bench/serving/scripted_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::test {

namespace {

/// Takes one request from what has come, if it is there.
bool take_request(std::string& came, std::string& head, std::string& body) {
  const size_t end = came.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  head = came.substr(0, end + 2);
  const size_t at = head.find("Content-Length: ");
  const size_t size = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
  if (came.size() < end + 4 + size) return false;
  body = came.substr(end + 4, size);
  came.erase(0, end + 4 + size);
  return true;
}

void send_all(int socket, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t size = ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (size <= 0) return;
    sent += static_cast<size_t>(size);
  }
}

}  // namespace

ScriptedServer::ScriptedServer(Script script) : script_(std::move(script)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  TRIREME_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  TRIREME_CHECK(::listen(listener_, 64) == 0);
  TRIREME_CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  endpoint_.host = "127.0.0.1";
  endpoint_.port = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

ScriptedServer::~ScriptedServer() {
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  for (const int socket : sockets_) ::close(socket);
  ::close(listener_);
}

void ScriptedServer::accept_all() {
  while (true) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;
    ++num_connections_;
    const std::lock_guard lock(mutex_);
    sockets_.push_back(socket);
    threads_.emplace_back([this, socket] { serve(socket); });
  }
}

void ScriptedServer::serve(int socket) {
  std::string came, head, body;
  std::array<char, 4096> bytes;
  while (true) {
    while (!take_request(came, head, body)) {
      const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), 0);
      if (size <= 0) return;
      came.append(bytes.data(), static_cast<size_t>(size));
    }
    const ScriptedReply reply = script_(num_requests_++, head, body);
    for (const std::string& piece : reply.pieces) send_all(socket, piece);
    if (reply.closes) {
      ::shutdown(socket, SHUT_RDWR);
      return;
    }
    while (reply.hangs && ::recv(socket, bytes.data(), bytes.size(), 0) > 0) {
    }
    if (reply.hangs) return;
  }
}

std::string json_answer(int status, const std::string& json, const std::string& headers) {
  return fmt::format("HTTP/1.1 {} Words\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}",
                     status, json.size(), headers, json);
}

std::string chunk(const std::string& data) { return fmt::format("{:x}\r\n{}\r\n", data.size(), data); }

std::vector<std::string> stream_of(int64_t tokens, int64_t prompt_tokens, const std::string& finish) {
  std::vector<std::string> pieces = {
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"};
  for (int64_t i = 0; i < tokens; ++i) {
    const std::string reason = i + 1 == tokens ? '"' + finish + '"' : "null";
    pieces.push_back(chunk(
        fmt::format(
            R"(data: {{"id":"c","choices":[{{"index":0,"text":" word","logprobs":null,"finish_reason":{}}}]}})",
            reason) +
        "\n\n"));
  }
  pieces.push_back(
      chunk(fmt::format(R"(data: {{"choices":[],"usage":{{"prompt_tokens":{},"completion_tokens":{}}}}})",
                        prompt_tokens, tokens) +
            "\n\n"));
  pieces.push_back(chunk("data: [DONE]\n\n"));
  pieces.push_back(chunk(""));
  return pieces;
}

TEST(ScriptedServer, EndsWithAConnectionThatHangs) {
  ScriptedServer server([](int, const std::string&, const std::string&) {
    return ScriptedReply{{}, false, true};
  });
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(server.endpoint().port);
  ASSERT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  send_all(socket, "GET / HTTP/1.1\r\n\r\n");
  ::close(socket);
}

}  // namespace trireme::test
