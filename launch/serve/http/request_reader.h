// RequestReader: requests out of the bytes of a connection.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

struct IncomingRequest {
  HttpRequest request;
  bool is_http11 = true;
  bool keeps_alive = true;  ///< the client may send another on this connection
};

/// An answer that the server gives itself; the connection ends after it.
struct Refusal {
  int status = 400;
  std::string message;
};

/// HTTP/1.0 and 1.1 (RFC 9112). What comes of some bytes does not depend on the pieces they arrive in.
class RequestReader {
 public:
  enum class State {
    needs_bytes,
    wants_continue,  ///< the client waits for "100 Continue" before it sends the body; said once a request
    complete,        ///< take() it
    refused          ///< refusal(); nothing can be read after it
  };

  explicit RequestReader(const HttpLimits& limits);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  void append(std::string_view bytes);
  /// Reads on as far as the bytes reach, to the end of one request at most.
  State advance();
  IncomingRequest take();
  const Refusal& refusal() const { return refusal_; }

  /// Bytes that have come and are not part of a request yet.
  size_t num_buffered() const { return buffer_.size(); }
  /// A request has begun, and is not complete.
  bool has_begun() const;

 private:
  struct Parser;
  State refuse(int status, std::string message);
  State refuse_body(bool is_line);
  State read_head();
  State read_body();
  State check_head();

  HttpLimits limits_;
  std::string buffer_;
  size_t searched_ = 0;  ///< bytes at the buffer's front that hold no end of a head
  bool was_asked_ = false;
  std::unique_ptr<Parser> parser_;  ///< of the request whose head is complete
  Refusal refusal_;
};

}  // namespace trireme::launch
