// What the forward and backward passes of a step measured.
#pragma once

#include <cstdint>

#include "parallel/training/pending_step.h"

namespace trireme::launch::python {

struct Passes {
  explicit Passes(const StepNumbers& numbers)
      : loss(numbers.totals().mean_loss()),
        objective(numbers.totals().mean_objective()),
        grad_norm(numbers.gradient_norm()),
        num_targets(static_cast<int64_t>(numbers.totals().weight)) {}

  double loss, objective, grad_norm;
  int64_t num_targets;
};

}  // namespace trireme::launch::python
