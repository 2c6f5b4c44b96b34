// Compares the training of a layout with a single-rank run.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/verify/compare_step.h"

namespace trireme::launch {

struct VerifyReport {
  std::vector<StepDifference> steps;
  std::vector<double> losses, norms;  ///< of the layout
  /// Empty where the layout follows one rank. Else what differs in the first step that does, in the order of
  /// execution, a sentence each.
  std::vector<std::string> errors;
};

/// Trains config.train.steps steps in the resolved layout of the configuration, and each of them on one rank,
/// too, from the weights and to the experts of the layout, so that rounding does not add up. Compares what
/// passes between layers, losses, gradients, the bits of copies, and the updates with AdamW's equations. Ends
/// with the first step that differs. All ranks of `world` call it; the report is on rank 0. `hooks`: of this
/// rank's run, may be null.
VerifyReport verify_layout(Communicator& world, const RunConfig& config, Device device,
                           RunHooks* hooks = nullptr);

/// What is verified of a configuration: where it computes or reduces in 16 bits the same in f32, where
/// rounding hides nothing, and then itself.
std::vector<RunConfig> verified_runs(const RunConfig& config);

/// verify_layout() of these, on this rank's `device`. Prints a line per step and the verdict on rank 0. Every
/// rank of `world` calls it; a single rank stands for all of a larger layout, which then are threads. Throws
/// UserError (numerics) where the layout does not follow.
void verify(const RunConfig& config, Communicator& world, Device device, std::FILE* out,
            RunHooks* hooks = nullptr);

}  // namespace trireme::launch
