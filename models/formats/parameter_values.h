// Where weights that are written to files come from.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace trireme {

/// A parameter of the model, whole, as f32, by its name. Asked for once each time it is needed; nothing is
/// kept, so that writers hold no more than the tensor that they write and the one that it is made of.
using ParameterValues = std::function<std::vector<float>(const std::string& name)>;

}  // namespace trireme
