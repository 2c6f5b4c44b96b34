// Options of a TrainingStep beyond the ParallelPlan.
#pragma once

#include <cstdint>

#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/optimizer/muon_optimizer.h"
#include "parallel/pruning/prunable.h"
#include "parallel/pruning/prune_config.h"
#include "parallel/training/nonfinite_policy.h"

namespace trireme {

struct TrainingStepOptions {
  AdamWConfig adamw = {};
  MuonConfig muon = {};  ///< for the parameters that ShardingSpec::rules assign to Muon
  double clip = 1.0;     ///< global gradient norm to clip to; 0: off
  NonFiniteCheck check = NonFiniteCheck::step;
  uint64_t seed = 0;  ///< MicroBatch::seed
  /// Capture each step as two CUDA graphs (StepGraph), the passes and the update, which saves launch
  /// overhead. Nothing in it may then wait for the device or for streams other than NCCL's: no MoE,
  /// NonFiniteCheck::op, pipeline or communication through the host.
  bool use_graph = false;
  PruneConfig prune = {};
  Prunable prunable = {};  ///< where `prune` does something; TrainingSession sets it
};

}  // namespace trireme
