// metrics.jsonl: a curve of every number, whatever happened to the file.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "launch/run_report/json_lines.h"
#include "launch/run_report/read_run.h"
#include "launch/run_report/records.h"
#include "launch/run_report/thin.h"

namespace trireme::launch {

namespace {

constexpr const char* kOfSteps[] = {"loss",       "val_loss",  "objective",     "grad_norm",
                                    "lr",         "tok_s",     "mfu",           "mfu_sure",
                                    "step_ms",    "mem_bytes", "skipped",       "reserved_bytes",
                                    "loss_scale", "aux_loss",  "router_z_loss", "comm_wait_ms"};
/// What a report draws of loads at most: layers x experts x windows.
constexpr size_t kMostLoads = 120'000;
constexpr size_t kMostWindows = 200;

/// Parts of a step in the order in which they are stacked; exposed communication comes by axis.
struct PartOfStep {
  const char* key;
  const char* name;
};
constexpr PartOfStep kParts[] = {{"compute_ms", "compute"},          {"exposed_ms", "exposed "},
                                 {"bubble_ms", "pipeline bubble"},   {"data_ms", "waiting for data"},
                                 {"imbalance_ms", "load imbalance"}, {"optimizer_ms", "optimizer"},
                                 {"checkpoint_ms", "checkpoints"},   {"rest_ms", "rest"}};

void add_breakdown(const nlohmann::json& record, RecordBuilder& columns) {
  for (const auto& [key, name] : kParts) {
    if (!record.contains(key)) continue;
    const nlohmann::json& value = record[key];
    if (!value.is_object()) {
      columns.set(name, json_number(value));
      continue;
    }
    for (const auto& [axis, ms] : value.items()) columns.set(name + axis, json_number(ms));
  }
}

void add_worst_layer(const nlohmann::json& layers, RecordBuilder& columns) {
  double imbalance = 0, dropped = 0, dead = 0;
  for (const nlohmann::json& layer : layers) {
    imbalance = std::max(imbalance, number_at(layer, "imbalance"));
    dropped = std::max(dropped, number_at(layer, "dropped"));
    dead += std::max(0.0, number_at(layer, "dead"));
  }
  columns.set("imbalance", imbalance);
  columns.set("dropped", dropped);
  columns.set("dead", dead);
}

/// Means of windows of records, as they come.
class LoadWindows {
 public:
  void add(const nlohmann::json& layers, size_t window) {
    for (const nlohmann::json& layer : layers) {
      if (!layer.is_object() || !layer.contains("load") || !layer["load"].is_array()) continue;
      const int64_t number = whole_at(layer, "layer");
      auto& of_expert = sums_[number];
      const nlohmann::json& load = layer["load"];
      if (of_expert.size() < load.size()) of_expert.resize(load.size());
      for (size_t expert = 0; expert < load.size(); ++expert) {
        auto& sums = of_expert[expert];
        if (sums.size() <= window) sums.resize(window + 1, {0, 0});
        const double value = json_number(load[expert]);
        if (!std::isfinite(value)) continue;
        sums[window].first += value;
        ++sums[window].second;
      }
    }
  }
  std::vector<LayerLoad> layers(size_t windows) const {
    std::vector<LayerLoad> layers;
    for (const auto& [number, of_expert] : sums_) {
      LayerLoad layer{number, {}};
      for (const auto& sums : of_expert) {
        std::vector<double> means(windows, std::numeric_limits<double>::quiet_NaN());
        for (size_t w = 0; w < sums.size(); ++w)
          if (sums[w].second > 0) means[w] = sums[w].first / sums[w].second;
        layer.of_expert.push_back(std::move(means));
      }
      layers.push_back(std::move(layer));
    }
    return layers;
  }

 private:
  std::map<int64_t, std::vector<std::vector<std::pair<double, double>>>> sums_;  // sum and number
};

size_t loads_in(const nlohmann::json& record) {
  size_t num = 0;
  if (record.contains("experts") && record["experts"].is_array()) {
    for (const nlohmann::json& layer : record["experts"])
      num += layer.is_object() && layer.contains("load") ? layer["load"].size() : 0;
  }
  return num;
}

}  // namespace

void read_metrics(std::string text, RunData& run) {
  JsonLines lines(std::move(text), JsonLines::Order::ascending);
  RecordBuilder steps, breakdown, memory, experts;
  LoadWindows windows;
  size_t per_window = 0;
  RecordClock clock;
  for (size_t i = 0; i < lines.size(); ++i) {
    const nlohmann::json record = lines.parse(i);
    if (record.empty()) continue;
    const Position at = clock.position_of(record, lines.step(i));
    steps.begin(at);
    for (const char* key : kOfSteps)
      if (record.contains(key)) steps.set(key, json_number(record[key]));
    if (record.contains("breakdown") && record["breakdown"].is_object()) {
      breakdown.begin(at);
      add_breakdown(record["breakdown"], breakdown);
    }
    if (record.contains("memory") && record["memory"].is_object()) {
      memory.begin(at);
      for (const char* category : {"weights", "gradients", "optimizer", "activations", "buffers"})
        if (record["memory"].contains(category))
          memory.set(category, json_number(record["memory"][category]));
    }
    if (const size_t num = loads_in(record); num > 0) {
      experts.begin(at);
      add_worst_layer(record["experts"], experts);
      if (per_window == 0)
        per_window = values_per_point(lines.size(), std::clamp<size_t>(kMostLoads / num, 20, kMostWindows));
      windows.add(record["experts"], (experts.size() - 1) / per_window);
    }
  }
  run.steps = std::move(steps).take();
  run.breakdown = std::move(breakdown).take();
  run.memory = std::move(memory).take();
  run.experts = std::move(experts).take();
  if (per_window > 0) {
    const Positions& at = run.experts.at;
    run.loads = ExpertLoads{thinned(at, per_window), static_cast<int64_t>(per_window), {}};
    run.loads->layers = windows.layers(run.loads->at.size());
  }
  tell_damage("metrics.jsonl", lines, run.problems);
}

void read_ranks(std::string text, RunData& run) {
  constexpr size_t kMostCells = 60'000;
  JsonLines lines(std::move(text), JsonLines::Order::ascending);
  RankTimesTable table;
  Positions at;
  RecordClock clock;
  std::map<std::string, std::vector<std::vector<double>>> counts;
  for (size_t i = 0; i < lines.size(); ++i) {
    const nlohmann::json record = lines.parse(i);
    if (record.empty()) continue;
    if (table.num_ranks == 0) {
      for (const auto& [key, value] : record.items())
        if (value.is_array()) table.num_ranks = std::max(table.num_ranks, value.size());
      if (table.num_ranks == 0) continue;
      table.records_per_window = static_cast<int64_t>(
          values_per_point(lines.size(), std::clamp<size_t>(kMostCells / table.num_ranks, 40, 300)));
    }
    const size_t window = at.size() / static_cast<size_t>(table.records_per_window);
    append_position(at, clock.position_of(record, lines.step(i)));
    for (const char* key : {"compute_ms", "wait_ms", "imbalance_ms", "mem_bytes"}) {
      if (!record.contains(key) || !record[key].is_array()) continue;
      auto& sums = table.values[key];
      auto& nums = counts[key];
      // A run may go on with more ranks, or fewer.
      const size_t ranks = std::max(sums.size(), record[key].size());
      sums.resize(ranks);
      nums.resize(ranks);
      table.num_ranks = std::max(table.num_ranks, ranks);
      for (size_t rank = 0; rank < record[key].size(); ++rank) {
        sums[rank].resize(window + 1, 0);
        nums[rank].resize(window + 1, 0);
        const double value = json_number(record[key][rank]);
        if (!std::isfinite(value)) continue;
        sums[rank][window] += value;
        ++nums[rank][window];
      }
    }
  }
  if (at.size() > 0) {
    table.at = thinned(at, static_cast<size_t>(table.records_per_window));
    for (auto& [key, sums] : table.values) {
      sums.resize(table.num_ranks);
      for (size_t rank = 0; rank < sums.size(); ++rank) {
        sums[rank].resize(table.at.size(), 0);
        if (counts[key].size() <= rank) counts[key].resize(rank + 1);
        counts[key][rank].resize(table.at.size(), 0);
        for (size_t w = 0; w < sums[rank].size(); ++w) sums[rank][w] /= counts[key][rank][w];  // none: NaN
      }
    }
    run.ranks = std::move(table);
  }
  tell_damage("ranks.jsonl", lines, run.problems);
}

void read_events(std::string text, RunData& run) {
  JsonLines lines(std::move(text), JsonLines::Order::as_written);
  run.has_events = true;
  for (size_t i = 0; i < lines.size(); ++i) {
    const nlohmann::json record = lines.parse(i);
    if (record.empty()) continue;
    const double time = number_at(record, "time");
    HappeningOfRun event{std::isfinite(time) ? time : 0, lines.step(i), text_at(record, "kind"),
                         text_at(record, "text")};
    if (event.kind == "start" || event.kind == "resume") {
      run.start = {text_at(record, "version"),          text_at(record, "layout"),
                   whole_at(record, "ranks"),           whole_at(record, "hosts"),
                   whole_at(record, "predicted_bytes"), whole_at(record, "parameters")};
    }
    run.events.push_back(std::move(event));
  }
  tell_damage("events.jsonl", lines, run.problems);
}

}  // namespace trireme::launch
