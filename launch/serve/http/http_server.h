// HttpServer: HTTP/1.0 and 1.1 over TCP, without knowing what for. Plain: TLS is a proxy's in front of it.
//
// What it promises. One thread serves all connections and never waits for one; handlers run on two others.
// Requests of a connection are answered in order, one by one. A client that closes or resets its connection
// while its answer is computed has left, which is noticed at once; so has one that closes its sending side
// alone, which cannot be told from a close (uvicorn, and with it vLLM, does the same). Whoever sends a
// request must keep the connection open until the answer is there. What the server refuses itself has a body
// in OpenAI's form of errors: 400 malformed, 408 too slow, 413 body, 414 target or 431 head too long, 417,
// 501 transfer encodings but chunked, 503 too many connections or stopping, 505.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::launch {

struct HttpLimits {
  int64_t body_bytes = int64_t{16} << 20;
  int64_t header_bytes = 16 << 10;
  int64_t connections = 1024;
  double header_seconds = 10;       ///< for a request's head and body to arrive, from its first byte
  double idle_seconds = 75;         ///< of a connection between requests
  double write_seconds = 30;        ///< for a client to take what was sent, or the next 64 KiB of it
  int64_t pending_bytes = 4 << 20;  ///< that a slow reader may leave lying, then the connection is closed
};

struct HttpRequest {
  /// Of the target the path, percent-decoded (UTF-8 without control characters), and the query as it came.
  std::string method, path, query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  /// The first header of that name, in any case; empty: none.
  std::string_view header(std::string_view name) const;
};

/// The answer to one request. Every call is safe from any thread and does not block; what is said after the
/// client has gone, or after the answer is complete, is dropped. To HEAD the head alone is sent. A stream to
/// a client of HTTP/1.0 ends with its connection.
class HttpReply {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  virtual ~HttpReply() = default;
  /// Once: the whole answer.
  virtual void send(int status, std::string_view content_type, std::string body, Headers headers = {}) = 0;
  /// Or once: the head of an answer in pieces (chunked), then any number of write(), then end().
  virtual void begin_stream(int status, std::string_view content_type, Headers headers = {}) = 0;
  virtual void write(std::string piece) = 0;
  virtual void end() = 0;
  /// Calls back once, on a thread of the server, when the client leaves before the answer is complete, by
  /// closing, resetting, or reading too slowly; at once, within this call, where it has left already.
  virtual void on_gone(std::function<void()> callback) = 0;
};

/// Called on one of the server's worker threads, and may take its time; what it throws is answered with 500.
/// The reply may be kept and answered later. A reply that is dropped unanswered answers 500, one that is
/// dropped within a stream breaks it off, so that it does not look complete. Replies may outlive the server.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)>;

class HttpServer {
 public:
  /// Listens; port 0: a free one. EnvironmentError naming address and port.
  HttpServer(const std::string& address, uint16_t port, const HttpLimits& limits, HttpHandler handler);
  /// stop(0).
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  int64_t num_connections() const;
  /// Takes no more connections, and no more requests on those that are open; answers that have begun go on.
  void drain();
  /// Waits until all answers are written, for so many seconds at most, then closes everything and joins its
  /// threads; handlers that run are waited for. Not from a handler.
  void stop(double seconds);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::launch
