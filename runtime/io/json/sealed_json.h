// JSON files that know whether a bit of them has changed: the first line carries the XXH3-128 of all that
// follows it, and the whole is JSON still.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace trireme {

/// `object` as text; it must not have the member "xxh3".
///
///   {"xxh3":"0123456789abcdef0123456789abcdef",
///   "first":...}
std::string seal_json(const nlohmann::json& object);

/// The object without "xxh3". UserError (checkpoint) naming `path` when the text was not made by seal_json(),
/// or not all of it is as it was; nesting and equal names as parse_strict_json.
nlohmann::json open_sealed_json(const std::string& text, const std::string& path);

}  // namespace trireme
