// Connection: one client's, on the server's I/O thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "launch/serve/http/exchange.h"
#include "launch/serve/http/http_server.h"

namespace boost::asio {
class io_context;
}

namespace trireme::launch {

class Connection;

/// What connections ask of their server; on the I/O thread.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual void handle(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  virtual void became_busy() = 0;  ///< an answer is owed, or not sent yet
  virtual void became_idle() = 0;
  virtual void closed(Connection* connection) = 0;  ///< the last call
};

/// Every call on the I/O thread.
class Connection {
 public:
  virtual ~Connection() = default;
  /// `refusal`: the status of an answer that is all this client gets; 0: serve it.
  virtual void start(int refusal, const std::string& message) = 0;
  /// No more requests; closes once the answer that is owed has been sent.
  virtual void drain() = 0;
  virtual void close() = 0;
};

/// Takes over `socket`, a connected TCP socket that does not block. `owner` outlives the connection.
std::shared_ptr<Connection> open_connection(boost::asio::io_context& io, int socket, const HttpLimits& limits,
                                            ConnectionOwner& owner);

}  // namespace trireme::launch
