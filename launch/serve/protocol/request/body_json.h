// The JSON of a request's body.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::launch {

/// An object, its members in their order. ApiError (400) naming the byte where `body` is not UTF-8 or not
/// JSON, holds a number that no double can hold, a name twice in one object, or values more than 100 deep.
/// In time that grows with its length.
nlohmann::ordered_json parse_body(std::string_view body);

}  // namespace trireme::launch
