// JSON headers of files: every name once, and never deep.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme {

/// Parses `text`, the header of the file `path`, in time that grows with its length (the library's own filter
/// looks at all members of an object whenever one of them ends). UserError(bad_input) naming `path` when it
/// is not JSON, holds a number that no double can hold, has a name twice in one object, or objects and lists
/// more than `max_depth` deep inside each other.
nlohmann::json parse_strict_json(std::string_view text, int max_depth, const std::string& path);

}  // namespace trireme
