#include "models/cost/memory_inputs.h"

#include <utility>

#include "models/cost/layer_placement.h"
#include "parallel/pipeline/plan_schedule.h"

namespace trireme {

MemoryInputs memory_inputs(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch,
                           DType precision, bool master, std::vector<ParameterRule> rules) {
  MemoryInputs inputs;
  inputs.model = model;
  inputs.precision = precision;
  inputs.micro_batch = batch.micro_batch;
  inputs.seq_len = batch.seq_len;
  inputs.accumulation = batch.accumulation(plan);
  inputs.plan = plan;
  inputs.sharding = sharding_of(plan, master, std::move(rules));
  if (plan.pipeline > 1) {
    inputs.placement = layer_placement(model, batch.seq_len, plan);
    inputs.schedule =
        std::make_shared<const Schedule>(training_schedule(plan, static_cast<int>(inputs.accumulation)));
  }
  return inputs;
}

}  // namespace trireme
