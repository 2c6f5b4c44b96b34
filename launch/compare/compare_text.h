// A comparison for people and for programs.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "launch/compare/comparison.h"

namespace trireme::launch {

/// The runs, what differs in their options, and a line for each quantity. Ends with a line end.
std::string comparison_text(const Comparison& comparison);

/// "options", "speed", "loss", "val_loss", each quantity with "verdict" (the line), "noise", "a", "b",
/// "difference", "low", "high", "p" and "method".
nlohmann::ordered_json comparison_json(const Comparison& comparison);

/// "runs/a" or "runs/a and 2 repeats".
std::string side_name(const std::vector<ComparedRun>& side);
/// "0.001", of a side whose runs differ "0.001 | 0.002", where it is not known "(none)".
std::string option_text(const std::vector<std::string>& values);

}  // namespace trireme::launch
