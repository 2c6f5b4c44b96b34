// Regular expressions for sets of modules of a model.
#pragma once

#include <string>
#include <vector>

namespace trireme {

/// A part of the modules' names, as few regular expressions as its layers allow, each for a whole name:
/// "model\.layers\.(0|3)\.mlp\.up_proj". They match none of the names in `others`.
std::vector<std::string> module_patterns(const std::vector<std::string>& modules,
                                         const std::vector<std::string>& others);

}  // namespace trireme
