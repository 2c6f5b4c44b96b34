// Inputs of the memory prediction that follow from model and layout.
#pragma once

#include <vector>

#include "models/config/batch_spec.h"
#include "models/cost/memory_estimate.h"

namespace trireme {

/// `rules`: ShardingSpec::rules. Of a model and a plan without errors (validate()) and batches that are
/// known. What a run chooses beside them, recomputation, threads and the kernels of attention, is as
/// MemoryInputs has it.
MemoryInputs memory_inputs(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch,
                           DType precision = DType::f32, bool master = true,
                           std::vector<ParameterRule> rules = {});

}  // namespace trireme
