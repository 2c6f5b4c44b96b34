#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <fmt/format.h>

namespace trireme::test {

std::string HttpAnswer::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key.size() == name.size() && ::strncasecmp(key.data(), name.data(), name.size()) == 0) return value;
  }
  return {};
}

HttpClient::HttpClient() = default;

HttpClient::HttpClient(uint16_t port, int receive_bytes) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_bytes > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  connect(port);
}

HttpClient::~HttpClient() { close(); }

void HttpClient::open(bool is_v6) {
  if (socket_ < 0) socket_ = ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

bool HttpClient::connect(uint16_t port, bool is_v6) {
  open(is_v6);
  const timeval patience{30, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const int at_once = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
  if (is_v6) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(port);
    to.sin6_addr = in6addr_loopback;
    return ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

bool HttpClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t num = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (num <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(num));
  }
  return true;
}

bool HttpClient::fill() {
  char bytes[16384];
  const ssize_t num = ::recv(socket_, bytes, sizeof bytes, 0);
  if (num <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(num));
  return true;
}

std::string HttpClient::take_line() {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!fill()) return {};
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return line;
}

std::string HttpClient::take(size_t bytes) {
  while (buffer_.size() < bytes && fill()) {
  }
  std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, taken.size());
  return taken;
}

HttpAnswer HttpClient::read(bool is_head) {
  HttpAnswer answer;
  const std::string first = take_line();
  if (!first.starts_with("HTTP/1.1 ") || first.size() < 12) return answer;
  for (std::string line = take_line(); !line.empty(); line = take_line()) {
    const size_t colon = line.find(": ");
    if (colon != std::string::npos)
      answer.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  answer.status = std::stoi(first.substr(9));
  if (is_head || answer.status < 200) {
    answer.is_whole = true;
  } else if (answer.header("Transfer-Encoding") == "chunked") {
    for (;;) {
      const std::string line = take_line();
      if (line.empty()) return answer;
      const size_t size = std::stoul(line, nullptr, 16);
      const std::string chunk = take(size);
      if (chunk.size() < size || take(2) != "\r\n") return answer;
      if (size == 0) break;
      answer.body += answer.chunks.emplace_back(chunk);
    }
    answer.is_whole = true;
  } else if (const std::string length = answer.header("Content-Length"); !length.empty()) {
    answer.body = take(std::stoul(length));
    answer.is_whole = answer.body.size() == std::stoul(length);
  } else {
    answer.body = read_to_end();
    answer.is_whole = true;
  }
  return answer;
}

std::string HttpClient::read_some() {
  if (buffer_.empty()) fill();
  return std::exchange(buffer_, {});
}

std::string HttpClient::read_to_end() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

void HttpClient::half_close() { ::shutdown(socket_, SHUT_WR); }

void HttpClient::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void HttpClient::reset() {
  const linger now{1, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

std::string post_request(std::string_view path, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{}", path, body.size(),
                     body);
}

std::string get_request(std::string_view path) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", path);
}

bool comes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace trireme::test
