#include "launch/cli/config_file.h"

#include <fmt/format.h>

#include "launch/cli/ini_file.h"
#include "launch/cli/option_table.h"

namespace trireme {

namespace {

/// A directory is a run's own, and an empty text says what leaving the key out says.
bool is_left_out(const Option& option, const RunConfig& config) {
  if (option.key() == "run.dir") return true;
  if (option.no_effect && !option.no_effect(config).empty()) return true;
  return option.value.get(config).empty() && option.value.get(RunConfig()).empty();
}

}  // namespace

std::string write_config(const RunConfig& config) {
  std::string out, section;
  for (const Option& option : all_options()) {
    if (is_left_out(option, config)) continue;
    if (option.section != section) {
      section = option.section;
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    out += fmt::format("{} = {}\n", option.name, quote_ini(option.value.get(config)));
  }
  return out;
}

}  // namespace trireme
