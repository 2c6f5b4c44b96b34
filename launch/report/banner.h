// The banner printed before a run: layout, model, memory, batch, optimizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "models/cost/memory_estimate.h"

namespace trireme::launch {

struct HostInfo {
  std::string name;
  int num_ranks = 1;
};

/// Where a run takes place, as far as it is known. Empty texts and lists are left out of the banner.
struct RunPlace {
  std::vector<HostInfo> hosts;
  std::string device;   ///< "cpu: Intel Xeon, amx-bf16"
  std::string backend;  ///< of the communicator: "mpi"
  int threads_per_rank = 0;
  std::string run_directory;
  std::string attention = {};  ///< attention_text(), of a GPU
  std::string tokens = {};     ///< TrainingData::description
  std::string teacher = {};    ///< teacher_text(), of a distillation
};

/// "fp32", "bf16" or "fp16".
std::string precision_name(DType precision);

/// The layout in one line: degrees, sharding, pipeline.
std::string layout_line(const RunConfig& config);
/// The model in one line: family, sizes, what differs from the family's usual.
std::string model_line(const ModelConfig& config);
/// "1.86 GiB per rank: weights 475 MiB, ...".
std::string memory_line(const MemoryEstimate& estimate);
/// The same for balanced experts, and the maximum with expert load imbalance.
std::string predicted_memory_line(MemoryInputs inputs);
/// "global batch 32 = micro-batch 8 x gradient accumulation 2 x 2 data-parallel ranks; ...".
std::string batch_line(const RunConfig& config);
/// Parameters and predicted memory; while the vocabulary is not known, as a formula.
std::string size_lines(const RunConfig& config, int threads_per_rank);

/// Version, build, place, layout, batch arithmetic, model, parameters, predicted memory. Several lines; the
/// config is complete.
std::string banner(const RunConfig& config, const RunPlace& place);

}  // namespace trireme::launch
