// What a reply looks like on the wire (RFC 9112).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

/// How the request that is answered was made.
struct ReplyTerms {
  bool is_http11 = true;
  bool is_head = false;  ///< HEAD: the head of the answer alone
  bool keeps_alive = true;
};

/// Status line and headers. `length`: of the body; none: chunked, or up to the connection's end in HTTP/1.0.
/// Characters that would end a header's line become spaces, and headers whose name is none are left out.
std::string reply_head(const ReplyTerms& terms, int status, std::string_view content_type,
                       const HttpReply::Headers& headers, std::optional<size_t> length);

/// Appends one chunk; an empty piece gives none, since that would be the end.
void append_chunk(std::string& out, std::string_view piece);

inline constexpr std::string_view last_chunk = "0\r\n\r\n";

/// The body of an answer that says what is wrong, in OpenAI's form.
std::string error_body(int status, std::string_view message);

}  // namespace trireme::launch
