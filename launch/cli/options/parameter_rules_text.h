// Rules for the optimizer as text: "embedding.*: frozen=on; @norm: decay=on lr=0.5".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// PATTERN: KEY=VALUE ..., rules separated by semicolons. A pattern is a global name in which * stands for
/// any characters, or @ and a role (ParameterRole). Keys: optimizer (adamw, muon), lr (a factor, 0 or more),
/// decay and frozen (on, off). Empty text: no rules. Sets `rules` and returns nothing, or what is wrong.
std::string parse_parameter_rules(std::string_view text, std::vector<ParameterRule>& rules);

/// The same as text.
std::string text_of(const std::vector<ParameterRule>& rules);

}  // namespace trireme::launch
