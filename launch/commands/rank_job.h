// The ranks of a run, and the job that they are.
#pragma once

#include "launch/commands/rank_world.h"
#include "launch/run/trainer.h"

namespace trireme::launch {

/// What train() is given beside the configuration.
struct RankJob {
  /// make_world() with all options of the complete configuration as facts; every rank makes one. Errors of
  /// that.
  RankJob(const RunConfig& config, const RankPlace& place);
  RankJob(const RankJob&) = delete;
  RankJob& operator=(const RankJob&) = delete;

  RankWorld ranks;
  Job job;
};

}  // namespace trireme::launch
