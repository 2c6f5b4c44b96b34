// Runs a training job: sets up data, model and layout, and loops over steps.
#pragma once

#include <cstdio>
#include <string_view>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/report/banner.h"
#include "launch/report/files/run_log.h"
#include "runtime/comm/communicator.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {
class TeacherOrders;
}

namespace trireme::launch {

/// How this process was started.
struct Job {
  Communicator* world = nullptr;
  std::vector<HostInfo> hosts;  ///< in the order of their first ranks
  int local_size = 1;           ///< ranks of this host
  Device device;                ///< of this rank
  RunLog* log = nullptr;        ///< gets the path of the run's log.txt, on every rank
  TextMap options = {};         ///< all options by their keys, for checkpoints to keep and compare
  /// All ranks, where a teacher has some of its own, and on the first one what tells these.
  Communicator* all_ranks = nullptr;
  TeacherOrders* orders = nullptr;
  bool is_stepped = false;  ///< somebody looks at each step before the next (SteppedRun): none overlap

  Communicator& all() const { return all_ranks != nullptr ? *all_ranks : *world; }
};

/// Trains as the complete configuration says; every rank of the world calls it. Rank 0 writes the banner, the
/// step lines and the summary to `out`, and the run directory: config.ini (the text `config_ini`), metrics,
/// log, profile.json where a step is profiled, and at the end model.safetensors with the f32 weights under
/// their global names and tokenizer.json.
/// A step whose loss or gradient norm is not finite is skipped, or ends the run (numerics), as
/// config.train.nonfinite and loss_scale say; no file is written with weights that are not finite.
///
/// Until the first step a signal ends the job of a run that saves checkpoints with exit 75, wherever its
/// ranks are: there is nothing to save.
///
/// However a run ends, weights of steps that were done are not lost without a word. SIGINT, SIGTERM and a
/// step that ends the run leave them in model-unfinished-step-N.safetensors, on all ranks by AgreedEnd; so
/// does an error of another kind where one rank is the world. The message says where they are, or that
/// nothing is saved, and log.txt ends with it. Metrics, log and screen may fail without ending the run; of
/// the screen an EnvironmentError says so after it.
void train(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out);

}  // namespace trireme::launch
