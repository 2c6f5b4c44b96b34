// The objective that a run's options ask for.
#pragma once

#include <memory>

#include "models/config/loss_config.h"
#include "models/layers/objective.h"

namespace trireme {

std::shared_ptr<const Objective> make_objective(const LossConfig& config);

}  // namespace trireme
