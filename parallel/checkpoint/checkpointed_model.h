// CheckpointedModel: what checkpoint code needs to know of a model.
#pragma once

#include <string>
#include <vector>

#include "parallel/module/model_part.h"

namespace trireme {

struct CheckpointedModel {
  ModelPart& part;  ///< what this rank holds
  /// The parameters of the whole model, each whole and once, where it is used first: layer by layer in the
  /// order of the forward pass.
  std::vector<std::vector<Parameter>> layers;
  std::vector<std::string> routers;  ///< names of the whole model's (RouterBalance::name), in the same order
  std::vector<int> placement;  ///< where the virtual stages begin in `layers`, and after the last its size
};

}  // namespace trireme
