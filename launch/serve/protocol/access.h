// Who may ask for what.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/serve/http/http_server.h"

namespace trireme::launch {

/// Whether `authorization`, the header, is "Bearer KEY" with one of `keys`, or there are none. In a time that
/// does not depend on where a key differs.
bool has_access(std::string_view authorization, const std::vector<std::string>& keys);

/// The id that a client gave its request (x-request-id) as far as it can stand in a header, cut at 128
/// characters; else a random one.
std::string request_id_of(const HttpRequest& request);

/// 32 hexadecimal digits, random.
std::string random_id();
uint64_t random_number();

}  // namespace trireme::launch
