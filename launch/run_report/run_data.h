// What a run has left in its directory, as far as it can be read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/page/charts.h"

namespace trireme::launch {

/// Where records stand: the same number of each, ascending.
struct Positions {
  std::vector<double> step, tokens, hours;  ///< hours since the first record, downtime included
  size_t size() const { return step.size(); }
};

/// Some values at some positions, each of as many; NaN where a record has none.
struct RecordTable {
  Positions at;
  std::map<std::string, std::vector<double>> values;
  std::vector<std::string> order;  ///< of the keys, as they are to be shown

  bool has(const std::string& key) const { return values.contains(key); }
};

/// The expert load of a layer: of each expert its share of the choices, 1 being all, in some windows of time.
struct LayerLoad {
  int64_t layer = 0;
  std::vector<std::vector<double>> of_expert;  ///< by expert, then window
};
struct ExpertLoads {
  Positions at;
  int64_t records_per_window = 1;
  std::vector<LayerLoad> layers;
};

/// By rank, then window: means of the windows' records.
struct RankTimesTable {
  Positions at;
  int64_t records_per_window = 1;
  std::map<std::string, std::vector<std::vector<double>>>
      values;  ///< compute_ms, wait_ms, imbalance_ms, mem_bytes
  size_t num_ranks = 0;
};

struct HappeningOfRun {
  double time = 0;  ///< seconds since 1970; 0: unknown
  int64_t step = 0;
  std::string kind, text;
};

/// What start and resume say about the run: the last of them.
struct StartOfRun {
  std::string version, layout;
  int64_t ranks = 0, hosts = 0, predicted_bytes = 0, parameters = 0;
};

struct RunData {
  std::string path;  ///< as it was given
  std::string name;  ///< the directory's own, or the path where several runs share that
  /// Per step: loss, val_loss, objective, grad_norm, lr, tok_s, mfu, mfu_sure, step_ms, mem_bytes,
  /// reserved_bytes, loss_scale, skipped, aux_loss, comm_wait_ms; those that are there.
  RecordTable steps;
  RecordTable breakdown;  ///< ms a step, by part in the order of StepBreakdown
  RecordTable memory;     ///< bytes by category
  RecordTable experts;    ///< worst of all layers: imbalance, dropped, dead
  std::optional<ExpertLoads> loads;
  std::optional<RankTimesTable> ranks;
  std::optional<GanttChart> timeline;  ///< of the profiled step
  std::vector<HappeningOfRun> events;
  bool has_events = false;  ///< events.jsonl is there
  StartOfRun start;
  std::map<std::string, std::string> config;
  /// Of config.ini of earlier attempts: what differs from the one after it ("optimizer.lr: 1e-3 -> 2e-3").
  std::vector<std::string> config_changes;
  std::vector<std::string> problems;  ///< what could not be read, a sentence each
};

}  // namespace trireme::launch
