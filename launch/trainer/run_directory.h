// Where a run leaves its files: config.ini, metrics.jsonl, events.out.tfevents.* and log.txt.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "launch/trainer/append_file.h"
#include "launch/trainer/run_config.h"
#include "launch/trainer/step_metrics.h"

namespace trireme {

/// config.run.dir, or runs/MODEL-DATA: "runs/gpt2-3m-bible", "runs/gpt2-6x192-bible".
std::filesystem::path wanted_directory(const RunConfig& config);

/// One object without line end, with the keys step, time, tokens, loss, grad_norm, lr, step_ms,
/// comm_wait_ms, tok_s, tflops, mfu, mem_bytes and, where it was evaluated, val_loss. What is not finite is
/// null.
std::string to_json_line(const StepMetrics& metrics);

/// Rank 0 has one. Every call throws EnvironmentError (resources) with the path and the system's words when
/// the directory or disk refuses.
class RunDirectory {
 public:
  /// Creates `wanted`, or where that exists `wanted`-2, -3, ..., and writes config.ini.
  RunDirectory(const std::filesystem::path& wanted, std::string_view config_ini);

  const std::filesystem::path& path() const { return path_; }

  /// Adds a step to metrics.jsonl and the TensorBoard events. On disk for other programs to read when it
  /// returns.
  void write(const StepMetrics& metrics);
  /// Adds a line to log.txt.
  void log(std::string_view line);

 private:
  std::filesystem::path path_;
  AppendFile metrics_;
  AppendFile events_;
  AppendFile log_;
};

}  // namespace trireme
