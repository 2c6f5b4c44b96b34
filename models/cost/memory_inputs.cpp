#include "models/cost/memory_inputs.h"

#include "models/cost/layer_placement.h"
#include "parallel/pipeline/plan_schedule.h"

namespace trireme {

MemoryInputs memory_inputs(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch,
                           DType precision, bool master) {
  MemoryInputs inputs;
  inputs.model = model;
  inputs.precision = precision;
  inputs.micro_batch = batch.micro_batch;
  inputs.seq_len = batch.seq_len;
  inputs.accumulation = batch.accumulation(plan);
  inputs.plan = plan;
  inputs.sharding.zero_stage = plan.zero_stage;
  inputs.sharding.bucket_bytes = static_cast<int64_t>(plan.bucket_mib * (1 << 20));
  inputs.sharding.master = master;
  if (plan.zero_stage > 0) inputs.sharding.num_shards = plan.shard_ranks();
  if (plan.pipeline > 1) {
    inputs.placement = layer_placement(model, batch.seq_len, plan);
    inputs.in_flight = pairs_in_flight(plan, static_cast<int>(inputs.accumulation));
  }
  return inputs;
}

}  // namespace trireme
