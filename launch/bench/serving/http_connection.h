// HttpConnection: a TCP connection to a server that one request after the other goes through, without
// blocking.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "launch/bench/serving/endpoint.h"
#include "runtime/io/files/file.h"

struct pollfd;

namespace trireme::launch {

/// Takes one answer.
class HttpUser {
 public:
  virtual ~HttpUser() = default;
  /// Bytes that came. True: the answer is complete, for good or ill.
  virtual bool take(std::string_view bytes) = 0;
  /// The connection has ended before; `why` in the system's words, empty: the server closed it.
  virtual void lost(const std::string& why) = 0;
  virtual bool has_bytes() const = 0;    ///< of the answer
  virtual bool keeps_alive() const = 0;  ///< after a complete answer
};

class HttpConnection {
 public:
  /// `endpoint` outlives it. Connects when it is used first, and again where the server has closed it since.
  explicit HttpConnection(const Endpoint& endpoint) : endpoint_(endpoint) {}

  /// Only where it is idle. `user` lives until it is idle again. EnvironmentError where the host's name means
  /// nothing.
  void begin(std::string request, HttpUser& user);
  /// For poll(); only while it is not idle.
  pollfd wanted() const;
  /// Sends and takes what can be without waiting.
  void progress();
  /// Gives the request up; nobody is told.
  void abandon();
  bool is_idle() const { return user_ == nullptr; }

 private:
  void connect();
  bool send();
  void receive();
  void end(const std::string& why);
  void close();

  const Endpoint& endpoint_;
  FileDescriptor socket_;
  bool is_connecting_ = false, was_used_ = false;
  std::string request_;
  size_t sent_ = 0;
  HttpUser* user_ = nullptr;
};

}  // namespace trireme::launch
