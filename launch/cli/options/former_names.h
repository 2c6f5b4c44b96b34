// Options by the names that they had before (docs/upgrade.md).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

struct FormerName {
  std::string_view name;  ///< "model.load"
  std::string_view key;   ///< "model.init-from"
};

/// What goes on to be taken, on the command line and in files, with a warning.
std::span<const FormerName> former_names();

/// Today's key where `name` is a former one, else empty.
std::string_view todays_name(std::string_view name);

}  // namespace trireme::launch
