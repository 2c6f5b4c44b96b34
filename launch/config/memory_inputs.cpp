#include "launch/config/memory_inputs.h"

#include <algorithm>

#include "launch/config/attention_choice.h"
#include "launch/config/complete_config.h"
#include "models/cost/layer_placement.h"
#include "parallel/pipeline/plan_schedule.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

MemoryInputs memory_inputs(const RunConfig& config, int threads) {
  MemoryInputs inputs{
      .model = config.model,
      .precision = config.train.precision,
      .micro_batch = config.train.micro_batch,
      .seq_len = config.train.seq_len,
      .accumulation = config.accumulation(),
      .prefetch = std::min(config.data.prefetch, config.train.steps - 1),
      .plan = config.parallel,
      .sharding = {.zero_stage = config.parallel.zero_stage,
                   .bucket_bytes = static_cast<int64_t>(config.parallel.bucket_mib * (1 << 20)),
                   .master = config.train.master},
      .recomputation = config.train.recomputation,
      .float8 = config.train.float8,
      .threads = std::max(threads, 1)};
  inputs.model.vocab_size = known_vocab_size(config);
  const bool on_gpu = config.run.device == "cuda" || (config.run.device == "auto" && cuda::num_devices() > 0);
  if (on_gpu && why_no_cudnn(config).empty()) {
    inputs.attention_workspace = config.run.attention_workspace_mib << 20;
    inputs.deterministic_attention = config.run.deterministic;
  }
  if (inputs.sharding.zero_stage > 0) inputs.sharding.num_shards = config.parallel.shard_ranks();
  if (config.parallel.pipeline > 1) {
    inputs.placement = layer_placement(inputs.model, config.train.seq_len, config.parallel);
    inputs.in_flight = pairs_in_flight(config.parallel, static_cast<int>(config.accumulation()));
  }
  return inputs;
}

}  // namespace trireme
