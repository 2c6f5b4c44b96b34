// The text of --help.
#pragma once

#include <span>
#include <string>
#include <utility>

#include "launch/cli/options/option.h"

namespace trireme::launch {

/// A switch or argument of one command: how it is written, and what it does.
using HelpLine = std::pair<std::string, std::string>;

/// Two columns, the second wrapped, at most 100 characters wide.
std::string help_lines(std::span<const HelpLine> lines);
/// An option's default as people are shown it.
std::string default_text(const Option& option);
/// `options` by section, with what they take and their defaults.
std::string help_options(std::span<const Option> options);

}  // namespace trireme::launch
