// Full tensors by global name.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace trireme {

using NamedTensors = std::map<std::string, std::vector<float>>;

}  // namespace trireme
