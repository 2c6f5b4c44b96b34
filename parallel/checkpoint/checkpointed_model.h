// CheckpointedModel: what is known of a model where its weights are loaded and saved.
#pragma once

#include <vector>

#include "parallel/module/model_part.h"

namespace trireme {

struct CheckpointedModel {
  ModelPart& part;  ///< what this rank holds
  /// The parameters of the whole model, each whole, layer by layer in the order of the forward pass.
  std::vector<std::vector<Parameter>> layers;
  std::vector<int> placement;  ///< where the virtual stages begin in `layers`, and behind the last its size
};

}  // namespace trireme
