// Where a run leaves its files: config.ini, metrics.jsonl, ranks.jsonl, events.jsonl, events.out.tfevents.*
// and log.txt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/report/files/append_file.h"
#include "launch/report/files/run_event.h"
#include "launch/report/step_metrics.h"

namespace trireme::launch {

/// config.run.dir, or runs/MODEL-DATA: "runs/gpt2-3m-bible", "runs/gpt2-6x192-bible".
std::filesystem::path wanted_directory(const RunConfig& config);

/// Creates `wanted`, or where that exists `wanted`-2, -3, ...: which one it was. EnvironmentError (resources)
/// with the path and the system's words when that is refused.
std::filesystem::path create_run_directory(const std::filesystem::path& wanted);
/// `wanted` without a last slash, created where it is missing. EnvironmentError as above.
std::filesystem::path take_run_directory(const std::filesystem::path& wanted);

/// One object without line end, with the keys step, time, tokens, loss, grad_norm, lr, step_ms,
/// comm_wait_ms, data_wait_ms, core_wait_ms, checkpoint_wait_ms, tok_s, tflops, mfu, mfu_sure, peak_tflops,
/// mem_bytes and, where it was evaluated, val_loss; of the last step of a log window breakdown
/// (StepBreakdown: steps, step_ms, compute_ms, exposed_ms by axis, bubble_ms, data_ms, imbalance_ms,
/// optimizer_ms, checkpoint_ms, rest_ms), memory (peaks by category), and with several ranks slowest_rank,
/// slowest_ratio and straggler; of step 0 step, time, tokens and val_loss alone. What is not finite is null.
std::string to_json_line(const StepMetrics& metrics);

/// Rank 0 has one. Records that cannot be written end no run: the first of a file that fails is told, later
/// ones are tried all the same, and each is there whole or not at all.
class RunDirectory {
 public:
  /// In create_run_directory(wanted); writes config.ini. EnvironmentError
  /// (resources) with the path and the system's words when directory or disk refuse.
  RunDirectory(const std::filesystem::path& wanted, std::string_view config_ini)
      : RunDirectory(create_run_directory(wanted), config_ini, std::nullopt) {}
  /// Of a directory that is there. Where a run continues in it from `step`, records after that are taken
  /// back, and config.ini of the attempt before is kept beside this one's.
  RunDirectory(std::filesystem::path path, std::string_view config_ini, std::optional<int64_t> step);

  const std::filesystem::path& path() const { return path_; }

  /// Adds a step to metrics.jsonl and the TensorBoard events, and to ranks.jsonl (step, time, and of each
  /// rank compute_ms, wait_ms, imbalance_ms, mem_bytes: RankTable) where it has such; of step 0, the state
  /// before the first, its evaluation. With the kernel for other programs to read when it returns.
  void write(const StepMetrics& metrics);
  /// Adds a line to events.jsonl.
  void add(const RunEvent& event);
  /// Adds a line to log.txt.
  void log(std::string_view line) noexcept;

  /// What could not be written since the last call, a sentence for each file that failed for the first time.
  std::vector<std::string> take_failures() { return std::exchange(failures_, {}); }
  /// How many records are missing, by file: "metrics.jsonl lacks 12 of its records"; empty: none.
  std::string missing() const;
  /// Creates the directory again where it has disappeared, with what was written so far lost. True then.
  /// EnvironmentError when that is refused.
  bool restore();

 private:
  struct Sink {
    std::string name;
    std::optional<AppendFile> file = std::nullopt;
    int64_t num_missing = 0;
  };
  void open();
  void add(Sink& sink, std::string_view bytes) noexcept;

  std::filesystem::path path_;
  std::string config_ini_;
  Sink metrics_, ranks_, events_, log_;  // the second only where there are several ranks
  Sink happenings_{"events.jsonl"};
  std::vector<std::string> failures_;
};

}  // namespace trireme::launch
