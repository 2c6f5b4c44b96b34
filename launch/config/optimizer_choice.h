// Assigns optimizers to the parameters of a run.
#pragma once

#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// What the kind of optimizer says of parameters, and then what the run's own rules say.
std::vector<ParameterRule> optimizer_rules(const OptimizerConfig& config);

/// Whether it may update anything with Muon.
bool uses_muon(const OptimizerConfig& config);

/// Muon's learning rate at the peak of the schedule: what was asked for, or AdamW's.
double muon_lr(const OptimizerConfig& config);

/// What Newton-Schulz iterations are computed in.
DType muon_precision(const RunConfig& config);

/// What is wrong with the optimizer's numbers and rules; the model's numbers are sound.
std::vector<std::string> optimizer_errors(const RunConfig& config);

}  // namespace trireme::launch
