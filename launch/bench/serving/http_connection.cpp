#include "launch/bench/serving/http_connection.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses addresses_of(const Endpoint& endpoint) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string host = endpoint.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const int error = ::getaddrinfo(host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (error != 0) throw_environment("host {}: {}", endpoint.host, ::gai_strerror(error));
  return {found, &::freeaddrinfo};
}

}  // namespace

void HttpConnection::begin(std::string request, HttpUser& user) {
  TRIREME_CHECK(is_idle());
  request_ = std::move(request);
  sent_ = 0;
  user_ = &user;
  if (socket_.get() < 0) connect();
  if (!is_idle()) progress();
}

void HttpConnection::connect() {
  const Addresses addresses = addresses_of(endpoint_);
  std::string why;
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) {
    socket_ = FileDescriptor(::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    was_used_ = false;
    const int one = 1;
    if (socket_.get() >= 0) ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const bool is_there = socket_.get() >= 0 && ::connect(socket_.get(), a->ai_addr, a->ai_addrlen) == 0;
    is_connecting_ = !is_there && socket_.get() >= 0 && errno == EINPROGRESS;
    if (is_there || is_connecting_) return;
    why = std::strerror(errno);
    close();
  }
  end(why);
}

pollfd HttpConnection::wanted() const {
  const bool sends = is_connecting_ || sent_ < request_.size();
  return {socket_.get(), static_cast<short>(sends ? POLLIN | POLLOUT : POLLIN), 0};
}

void HttpConnection::progress() {
  if (is_connecting_) {
    pollfd now{socket_.get(), POLLOUT, 0};
    if (::poll(&now, 1, 0) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    is_connecting_ = false;
    if (error != 0) return end(std::strerror(error));
  }
  if (send()) receive();
}

/// False: the request has ended.
bool HttpConnection::send() {
  while (sent_ < request_.size()) {
    const ssize_t sent =
        ::send(socket_.get(), request_.data() + sent_, request_.size() - sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // A server may refuse a request before it has all of it: what it says is looked at first.
    if (sent < 0) return true;
    sent_ += static_cast<size_t>(sent);
  }
  return true;
}

void HttpConnection::receive() {
  std::array<char, 16384> bytes;
  while (!is_idle()) {
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (size <= 0) return end(size < 0 ? std::strerror(errno) : "");
    if (!user_->take({bytes.data(), static_cast<size_t>(size)})) continue;
    const bool keeps = user_->keeps_alive() && sent_ == request_.size();
    user_ = nullptr;
    was_used_ = true;
    if (!keeps) close();
  }
}

void HttpConnection::end(const std::string& why) {
  const bool was_stale = was_used_ && !user_->has_bytes();
  close();
  if (was_stale) {  // the server closed it while it was idle: once more
    sent_ = 0;
    connect();
    if (!is_idle()) progress();
    return;
  }
  HttpUser& user = *user_;
  user_ = nullptr;
  user.lost(why);
}

void HttpConnection::abandon() {
  user_ = nullptr;
  close();
}

void HttpConnection::close() {
  socket_.close();
  is_connecting_ = false;
  was_used_ = false;
}

}  // namespace trireme::launch
