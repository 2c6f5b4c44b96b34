// HttpResponseReader: one HTTP/1.1 response, byte by byte as it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace trireme::launch {

class HttpResponseReader {
 public:
  /// `on_body` takes the body in pieces of any size, without the framing of chunks.
  explicit HttpResponseReader(std::function<void(std::string_view)> on_body) : on_body_(std::move(on_body)) {}

  /// What came. Nothing is read beyond the response's end or behind a trouble.
  void feed(std::string_view bytes);
  /// The server has closed the connection.
  void close();

  bool is_complete() const { return place_ == Place::end; }
  const std::string& trouble() const { return trouble_; }  ///< what is wrong with it; empty: nothing so far
  int status() const { return status_; }                   ///< 0: the head is not there yet
  bool keeps_alive() const { return keeps_alive_; }
  double retry_after() const { return retry_after_; }  ///< seconds; 0: none said

 private:
  enum class Place : uint8_t {
    status_line,
    headers,
    body,
    body_to_close,
    chunk_size,
    chunk,
    chunk_end,
    trailers,
    end
  };

  void take_line();
  void take_status(std::string_view line);
  void take_header(std::string_view line);
  void begin_body();
  void fail(std::string why);

  std::function<void(std::string_view)> on_body_;
  Place place_ = Place::status_line;
  std::string line_, trouble_;
  int status_ = 0;
  bool keeps_alive_ = true, is_chunked_ = false;
  int64_t left_ = -1;  ///< bytes of the body or chunk; -1: no Content-Length
  double retry_after_ = 0;
};

}  // namespace trireme::launch
