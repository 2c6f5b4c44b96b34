// Checks optimizer updates against their equations in double precision.
#pragma once

#include <string>

#include "launch/config/run_config.h"
#include "models/session/named_tensors.h"

namespace trireme::launch {

/// Follows a run's updates: clipping, and AdamW or Muon (muon_check.h), from the run's own gradients, in
/// double precision with moments kept as the run keeps them. So what remains to be explained is rounding,
/// however large a step AdamW makes of a gradient that is none.
class UpdateCheck {
 public:
  explicit UpdateCheck(const RunConfig& config) : config_(config) {}

  /// Of the run's next update: the first tensor, in the order of the forward pass, of which an element is not
  /// what it should be, in a sentence; else empty. `mean` makes means of the gradients.
  std::string check(const NamedTensors& before, const NamedTensors& gradients, double mean, double grad_norm,
                    const NamedTensors& after);

 private:
  RunConfig config_;
  NamedTensors m_, v_;
  int64_t num_updates_ = 0;
};

/// The L2 norm of all tensors, times `mean`.
double norm_of(const NamedTensors& gradients, double mean);

}  // namespace trireme::launch
