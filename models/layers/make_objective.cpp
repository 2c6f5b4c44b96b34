#include "models/layers/make_objective.h"

#include "models/layers/cross_entropy.h"

namespace trireme {

std::shared_ptr<const Objective> make_objective(const LossConfig& config) {
  return std::make_shared<CrossEntropy>(config);
}

}  // namespace trireme
