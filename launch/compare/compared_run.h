// What a comparison knows of a run: its directory, read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace trireme::launch {

/// A line of metrics.jsonl. What it lacks, or has as null, is NaN.
struct ComparedStep {
  int64_t step = 0;
  double time = 0;  ///< seconds since 1970
  double loss = 0, step_ms = 0, tok_s = 0;
  double comm_wait_ms = 0, core_wait_ms = 0, checkpoint_wait_ms = 0;
  bool is_sure = true;  ///< mfu_sure: other processes did not hold it up
  bool is_skipped = false;
  std::optional<double> val_loss = std::nullopt;
};

struct ComparedRun {
  std::string path;
  std::map<std::string, std::string> options;  ///< of config.ini, by their keys
  std::string version;                         ///< "trireme 0.1.0 (...)"; empty: unknown
  std::vector<ComparedStep> steps;             ///< from 1 on, ascending, each once
  std::optional<double> last_val_loss;
  int64_t last_val_step = 0;
};

/// A run directory as trireme train leaves it, of this version or an earlier one. Half a line at the end of
/// metrics.jsonl is left out, and of a step that is there twice (a run that was resumed) the later line
/// counts. UserError (bad_input) with the path where there is no metrics.jsonl, or it has no step.
ComparedRun read_compared_run(const std::string& path);

}  // namespace trireme::launch
