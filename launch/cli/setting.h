// A key and its text from the command line or a file, not yet interpreted.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace trireme::launch {

struct Setting {
  std::string key;
  std::optional<std::string> text;  ///< none: the key alone
  std::string where;                ///< "command line" or "run.ini:12"
};

/// What was read, and what could not be: errors are for the user, one sentence each.
struct Settings {
  std::vector<Setting> list;
  std::vector<std::string> arguments;  ///< of the command line: what stands alone, after no option
  std::vector<std::string> errors;
};

}  // namespace trireme::launch
