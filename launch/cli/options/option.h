// One option: a row of the table that the command line, the INI file, --help and config.ini are made from.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// How the text of an option becomes a field of the configuration, and back.
struct OptionValue {
  std::string placeholder;  ///< shown in --help: "N", "FILE", "fp32|bf16"
  std::string range = {};   ///< of numbers: "1 to 16384" or "0 or more"; empty: the placeholder says all
  /// Returns what is allowed when `text` is not; the configuration is unchanged then. Empty: done.
  std::function<std::string(RunConfig&, const std::string& text)> set;
  std::function<std::string(const RunConfig&)> get;
  bool is_switch = false;  ///< may be given without a value: on
};

struct Option {
  std::string section;
  std::string name;
  std::string alias;  ///< short form on the command line, without dashes; empty: none
  OptionValue value;
  std::string help;
  std::string shown_default;  ///< in place of the value's own text; empty: that text
  /// Why the option can have no effect beside the others; empty where it has one. Not set: it always has.
  std::function<std::string(const RunConfig&)> no_effect = nullptr;

  std::string key() const { return section + "." + name; }
};

}  // namespace trireme::launch
