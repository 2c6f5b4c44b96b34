// Parameters and gradients, each whole, from whatever layout.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/session/training_session.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch::python {

struct WholeParameter {
  std::string name;
  Shape shape;
  std::vector<float> values;
};

struct Wanted {
  std::optional<std::vector<std::string>> names = {};  ///< none: all of them
  bool on_all_ranks = false;  ///< else the first alone gets them, and the others nothing
};

/// Those that are wanted in the order of the forward pass, times `factor`. All ranks call it with the same
/// arguments. UserError (usage) for a name that the model does not have, with the nearest.
std::vector<WholeParameter> gather(TrainingSession& session, Communicator& world, ParameterState state,
                                   float factor, const Wanted& wanted);

}  // namespace trireme::launch::python
