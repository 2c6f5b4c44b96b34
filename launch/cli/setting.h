// A key and its text, as somebody wrote them, before they mean anything.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace trireme {

struct Setting {
  std::string key;
  std::optional<std::string> text;  ///< none: the key alone
  std::string where;                ///< "command line" or "run.ini:12"
};

/// What was read, and what could not be: errors are for the user, one sentence each.
struct Settings {
  std::vector<Setting> list;
  std::vector<std::string> arguments;  ///< of the command line: what stands alone, behind no option
  std::vector<std::string> errors;
};

}  // namespace trireme
