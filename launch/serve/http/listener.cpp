#include "launch/serve/http/listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

namespace {

/// Connections taken before others' turn.
constexpr int accepted_at_once = 64;
/// Out of descriptors or memory, others' ends are waited for: the kernel keeps who asks to connect.
constexpr std::chrono::milliseconds accept_pause{100};

std::string_view listen_advice(const ErrorCode& error) {
  if (error == asio::error::address_in_use)
    return "; another program listens there (ss -ltnp shows which): end it, or choose another port (0: a "
           "free one)";
  if (error == asio::error::access_denied) return "; ports below 1024 need a privilege: choose a higher one";
  if (error.value() == EADDRNOTAVAIL)
    return "; it is no address of this machine (ip address shows them): 127.0.0.1 is this machine alone, "
           "0.0.0.0 or :: all "
           "of its networks";
  return "; 127.0.0.1 is this machine alone, 0.0.0.0 or :: all of its networks";
}

[[noreturn]] void refuse_to_listen(const std::string& address, uint16_t port, const ErrorCode& error) {
  throw_environment("cannot listen at address {}, port {}: {}{}", address, port, error.message(),
                    listen_advice(error));
}

class TcpListener final : public Listener {
 public:
  TcpListener(asio::io_context& io, const tcp::endpoint& endpoint, ErrorCode& error)
      : acceptor_(io), timer_(io) {
    const auto attempt = [&](auto&& step) {
      if (!error) step();
    };
    attempt([&] { acceptor_.open(endpoint.protocol(), error); });
    attempt([&] { acceptor_.set_option(tcp::acceptor::reuse_address(true), error); });
    if (endpoint.protocol() == tcp::v6()) {
      ErrorCode ignored;  // :: takes IPv4 too, where the system can
      acceptor_.set_option(asio::ip::v6_only(false), ignored);
    }
    attempt([&] { acceptor_.bind(endpoint, error); });
    attempt([&] { acceptor_.listen(asio::socket_base::max_listen_connections, error); });
    attempt([&] { acceptor_.non_blocking(true, error); });
    attempt([&] { port_ = acceptor_.local_endpoint(error).port(); });
  }

  uint16_t port() const override { return port_; }

  void start(std::function<void(int)> on_socket) override {
    on_socket_ = std::move(on_socket);
    wait();
  }

  void close() override {
    ErrorCode ignored;
    acceptor_.close(ignored);
    timer_.cancel(ignored);
  }

 private:
  void wait() {
    acceptor_.async_wait(tcp::acceptor::wait_read, [this](const ErrorCode& error) {
      if (error || !acceptor_.is_open()) return;
      accept_some();
    });
  }

  void accept_some() {
    for (int i = 0; i < accepted_at_once; ++i) {
      const int socket = ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (socket >= 0) {
        on_socket_(socket);
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
      return wait_a_while();
    }
    wait();
  }

  void wait_a_while() {
    timer_.expires_after(accept_pause);
    timer_.async_wait([this](const ErrorCode& error) {
      if (!error && acceptor_.is_open()) accept_some();
    });
  }

  tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  uint16_t port_ = 0;
  std::function<void(int)> on_socket_;
};

}  // namespace

std::unique_ptr<Listener> listen_at(asio::io_context& io, const std::string& address, uint16_t port) {
  ErrorCode error;
  const auto results =
      tcp::resolver(io).resolve(address, std::to_string(port), tcp::resolver::numeric_service, error);
  if (error || results.empty()) refuse_to_listen(address, port, error);
  auto listener = std::make_unique<TcpListener>(io, results.begin()->endpoint(), error);
  if (error) refuse_to_listen(address, port, error);
  return listener;
}

}  // namespace trireme::launch
