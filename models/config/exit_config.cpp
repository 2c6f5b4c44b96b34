#include "models/config/exit_config.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/config/model_config.h"

namespace trireme {

double ExitConfig::dropout_of(int64_t block, int64_t num_blocks) const {
  if (dropout == 0) return 0;
  const double depth =
      num_blocks > 1 ? static_cast<double>(block) / static_cast<double>(num_blocks - 1) : 1.0;
  return dropout * (std::exp2(depth) - 1);
}

int64_t kept_streams(const ModelConfig& model, const ExitConfig& config) {
  const auto exits = static_cast<int64_t>(model.exits.size());
  if (config.scale == 0 || exits == 0) return 0;
  return config.curriculum == ExitCurriculum::all ? exits : 1;
}

std::vector<std::string> exit_errors(const ModelConfig& model) {
  std::vector<std::string> errors;
  if (model.num_layers < 2 && !model.exits.empty())
    return {fmt::format("model.exits {}: exits lie between layers, and model.layers is {}; leave it out",
                        fmt::join(model.exits, ","), model.num_layers)};
  int64_t before = 0;
  for (const int64_t exit : model.exits) {
    if (exit < 1 || exit >= model.num_layers)
      errors.push_back(fmt::format("model.exits has {}, and exits of {} layers lie behind 1 to {} of them",
                                   exit, model.num_layers, model.num_layers - 1));
    else if (exit <= before)
      errors.push_back(fmt::format("model.exits has {} behind {}: they ascend, each once", exit, before));
    before = exit;
  }
  return errors;
}

}  // namespace trireme
