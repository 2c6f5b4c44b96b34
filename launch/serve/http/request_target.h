// The target of a request: a path, and a query.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trireme::launch {

struct RequestTarget {
  std::string path;   ///< percent-decoded; valid UTF-8 without control characters
  std::string query;  ///< what follows "?", as it came
};

/// Of origin form ("/path?query"), absolute form ("http://host/path") or "*" (RFC 9112, 3.2); nothing where
/// it is malformed.
std::optional<RequestTarget> parse_target(std::string_view target);

}  // namespace trireme::launch
