#include "launch/config/memory_inputs.h"

#include <algorithm>
#include <memory>

#include "launch/config/attention_choice.h"
#include "launch/config/complete_config.h"
#include "launch/config/optimizer_choice.h"
#include "models/cost/memory_inputs.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

MemoryInputs memory_inputs(const RunConfig& config, int threads) {
  MemoryInputs inputs =
      memory_inputs(known_model(config), config.parallel, batch_of(config), config.train.precision,
                    config.train.master, optimizer_rules(config.optimizer));
  inputs.recomputation = config.train.recomputation;
  inputs.float8 = config.train.float8;
  inputs.loss = config.loss;
  inputs.exits = config.exit;
  inputs.prune = config.prune;
  inputs.teacher = config.distill.memory;
  inputs.separate_documents = config.data.documents == DocumentsKind::separate;
  inputs.threads = std::max(threads, 1);
  inputs.prefetch = std::min(config.data.prefetch, config.train.steps - 1);
  const bool on_gpu = config.run.device == DeviceKind::cuda ||
                      (config.run.device == DeviceKind::automatic && cuda::num_devices() > 0);
  if (on_gpu && why_no_cudnn(config).empty()) {
    inputs.attention_workspace = config.run.attention_workspace_mib << 20;
    inputs.deterministic_attention = config.run.deterministic;
  }
  return inputs;
}

}  // namespace trireme::launch
