// A blocking HTTP client over a plain socket, which sends whatever it is given.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::test {

struct HttpAnswer {
  int status = 0;  ///< 0: the connection ended before a whole head
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::vector<std::string> chunks;  ///< of a chunked body
  bool is_whole = false;            ///< the body has come to its end

  std::string header(std::string_view name) const;  ///< empty: none
};

/// Failures of the socket end in empty answers; nothing waits longer than some 30 seconds.
class HttpClient {
 public:
  /// Connects. `receive_bytes`: of the socket's buffer, 0: the system's.
  explicit HttpClient(uint16_t port, int receive_bytes = 0);
  /// A socket that is not connected yet, and its connection.
  HttpClient();
  bool connect(uint16_t port, bool is_v6 = false);
  void open(bool is_v6 = false);  ///< takes the descriptor that connect() takes else
  ~HttpClient();
  HttpClient(HttpClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}
  HttpClient& operator=(HttpClient&&) = delete;

  bool send(std::string_view bytes);
  /// `is_head`: of a HEAD request, whose answer has no body.
  HttpAnswer read(bool is_head = false);
  HttpAnswer ask(std::string_view request) { return send(request) ? read() : HttpAnswer{}; }
  /// The next bytes, whatever they are; empty: the end.
  std::string read_some();
  std::string read_to_end();
  void half_close();  ///< sends no more
  void close();
  void reset();  ///< closes with RST

 private:
  bool fill();
  std::string take_line();
  std::string take(size_t bytes);

  int socket_ = -1;
  std::string buffer_;
};

/// "POST path" with this body and its length.
std::string post_request(std::string_view path, std::string_view body);
std::string get_request(std::string_view path);

/// Waits for what has to come; false after some 30 seconds.
bool comes_true(const std::function<bool()>& condition);

}  // namespace trireme::test
