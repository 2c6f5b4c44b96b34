// What differs between two models, by the names of options.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// A field of ModelConfig under the name of its option ("model.layers").
struct ModelField {
  std::string_view option;
  std::function<std::string(const ModelConfig&)> text;
  std::function<void(const ModelConfig& from, ModelConfig& to)> copy;
};
/// All but name and family, which compute nothing.
std::span<const ModelField> model_fields();

/// Whether both compute the same: fields without effect (a window's pattern without a window, initial values,
/// coefficients of auxiliary losses) do not count.
bool compute_the_same(const ModelConfig& a, const ModelConfig& b);

/// Fields of `a` that make it compute something else than `b`, as "model.window 4096 (there 0)".
std::vector<std::string> model_differences(const ModelConfig& a, const ModelConfig& b);

}  // namespace trireme
