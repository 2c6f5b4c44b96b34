// INI files: [section] lines, key = value lines, comments behind # or ; and values in double quotes where
// they have spaces at an end, comment characters or escapes (\n \t \r \" \\ \xHH).
#pragma once

#include <string>
#include <string_view>

#include "launch/cli/setting.h"

namespace trireme::launch {

/// Keys come back as "section.key". Errors carry "file:line". A key given twice is an error.
Settings parse_ini(std::string_view text, const std::string& file);
/// Reads `path`; throws UserError (usage) with the system's words when it cannot be read.
Settings read_ini(const std::string& path);

/// `value` as it stands in an INI file, in quotes where it must be.
std::string quote_ini(std::string_view value);

}  // namespace trireme::launch
