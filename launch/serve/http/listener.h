// Listener: accepts the connections of one address and port.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace trireme::launch {

/// On the I/O thread but for its construction.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual uint16_t port() const = 0;
  /// Calls `on_socket` with each connection's socket, which does not block and which it takes over.
  virtual void start(std::function<void(int)> on_socket) = 0;
  virtual void close() = 0;
};

/// `address`: numeric, or a name of this host; port 0: a free one. EnvironmentError naming both.
std::unique_ptr<Listener> listen_at(boost::asio::io_context& io, const std::string& address, uint16_t port);

}  // namespace trireme::launch
