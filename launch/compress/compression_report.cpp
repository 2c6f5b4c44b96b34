#include "launch/compress/compression_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "launch/compress/step_charts.h"
#include "launch/page/page.h"
#include "launch/report/number_text.h"

namespace trireme::launch {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Table steps_table(const WorkState& state) {
  Table table;
  const bool has_zeros =
      std::ranges::any_of(state.steps, [](const StepRecord& s) { return s.figures.zeros > 0; });
  table.columns = {
      {"step", false, true},    {"what", false},    {"size", true},          {"of fp32", true},
      {"perplexity", true},     {"change", true},   {"KL divergence", true}, {"99th percentile", true},
      {"same top token", true}, {"tokens/s", true}, {"time", true}};
  if (has_zeros) table.columns.insert(table.columns.begin() + 4, Column{"zeros", true});
  const auto add = [&](const StepFigures& f) {
    table.rows.push_back({f.name, f.what, short_bytes(static_cast<double>(f.bytes)),
                          fmt::format("{:.3f}", f.size()),
                          fmt::format("{:.4f} ± {:.4f}", f.perplexity(), f.perplexity_error()),
                          fmt::format("{:+.2f} %", 100 * (f.perplexity() / state.base->perplexity() - 1)),
                          fmt::format("{:.3g} ± {:.1g}", f.divergence.mean, f.divergence.error),
                          fmt::format("{:.3g}", f.divergence_99),
                          fmt::format("{:.2f} ± {:.2f} %", 100 * f.same_top.mean, 100 * f.same_top.error),
                          fmt::format("{:.1f} ({:.2f}x)", f.tokens_per_second,
                                      f.tokens_per_second / state.base->tokens_per_second),
                          short_duration(f.seconds)});
    if (!has_zeros) return;
    auto& row = table.rows.back();
    row.insert(row.begin() + 4, f.zeros > 0 ? fmt::format("{:.1f} %", 100 * f.zeros) : "");
  };
  add(*state.base);
  for (const StepRecord& step : state.steps) add(step.figures);
  return table;
}

/// "layers.3.ffn.up.weight": 3 and "ffn.up"; nothing of other names.
std::optional<std::pair<size_t, std::string>> layer_of(const std::string& name) {
  constexpr std::string_view kLayers = "layers.", kWeight = ".weight";
  if (!name.starts_with(kLayers) || !name.ends_with(kWeight)) return std::nullopt;
  const std::string rest = name.substr(kLayers.size(), name.size() - kLayers.size() - kWeight.size());
  size_t layer = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  const auto at = static_cast<size_t>(end - rest.data());
  if (error != std::errc() || at >= rest.size() || layer > 100000) return std::nullopt;
  return std::pair(layer, rest.substr(at + 1));
}

/// Of each kind of matrix a value for each layer; of experts the largest.
class KindsByLayer {
 public:
  void add(const std::string& name, double value) {
    const auto place = layer_of(name);
    if (!place) return;
    std::string kind = place->second;
    if (const size_t experts = kind.find(".experts."); experts != std::string::npos)
      kind = kind.substr(0, experts) + ".experts" + kind.substr(kind.rfind('.'));
    std::vector<double>& line = lines_[kind];
    num_layers_ = std::max(num_layers_, place->first + 1);
    line.resize(std::max(line.size(), place->first + 1), kNaN);
    double& there = line[place->first];
    there = std::isnan(there) ? value : std::max(there, value);
  }

  void draw(Page& page, LineChart chart) {
    if (num_layers_ == 0) return;
    std::vector<double> layers;
    for (size_t i = 0; i < num_layers_; ++i) layers.push_back(static_cast<double>(i));
    const int axis = page.add_axis("layer", layers);
    for (auto& [kind, line] : lines_) {
      line.resize(num_layers_, kNaN);
      chart.series.push_back({.name = kind, .axis = axis, .y = line});
    }
    page.lines(chart);
  }

 private:
  std::map<std::string, std::vector<double>> lines_;
  size_t num_layers_ = 0;
};

void errors_by_layer(Page& page, const StepRecord& step) {
  KindsByLayer kinds;
  for (const MatrixOutcome& outcome : step.outcomes) kinds.add(outcome.name, outcome.report.error);
  LineChart chart{.title = fmt::format("error of each matrix' outputs by layer: {}", step.figures.name),
                  .unit = Unit::percent,
                  .series = {}};
  chart.has_log_switch = chart.is_wide = true;
  chart.note = "tr((W - W') H (W - W')^T) / tr(W H W^T), H the sum of x x^T over the calibration";
  kinds.draw(page, std::move(chart));
}

void zeros_by_layer(Page& page, const StepRecord& step) {
  KindsByLayer kinds;
  for (const auto& [name, share] : step.zeros) kinds.add(name, share);
  LineChart chart{.title = fmt::format("zeros of each matrix by layer: {}", step.figures.name),
                  .unit = Unit::percent,
                  .series = {}};
  chart.is_wide = chart.from_zero = true;
  kinds.draw(page, std::move(chart));
}

Table matrices_table(const StepRecord& step) {
  Table table;
  table.caption = fmt::format("matrices of step {}", step.figures.name);
  table.is_folded = table.is_long = true;
  table.columns = {{"matrix"},      {"what"},          {"tokens", true},
                   {"error", true}, {"damping", true}, {"dead inputs", true},
                   {"note"}};
  if (!step.zeros.empty()) table.columns.insert(table.columns.begin() + 2, Column{"zeros", true});
  for (const MatrixOutcome& outcome : step.outcomes) {
    table.rows.push_back({outcome.name, outcome.what, grouped(outcome.tokens),
                          fmt::format("{:.3g} %", 100 * outcome.report.error),
                          fmt::format("{:g}", outcome.report.damping), grouped(outcome.report.dead),
                          outcome.report.note});
    if (step.zeros.empty()) continue;
    const auto zeros = step.zeros.find(outcome.name);
    auto& row = table.rows.back();
    row.insert(row.begin() + 2,
               zeros == step.zeros.end() ? "" : fmt::format("{:.1f} %", 100 * zeros->second));
  }
  return table;
}

}  // namespace

nlohmann::ordered_json compression_json(const CompressionFacts& facts, const WorkState& state) {
  nlohmann::ordered_json json = {
      {"model", facts.model},           {"calibration", facts.calibration},
      {"evaluation", facts.evaluation}, {"predicted_seconds", facts.predicted_seconds},
      {"seconds", facts.seconds},       {"predicted_bytes_per_rank", facts.predicted_bytes},
      {"bytes_of_rank_0", facts.bytes}};
  json.update(json_of(state));
  return json;
}

std::string compression_page(const CompressionFacts& facts, const WorkState& state) {
  Page page("Compression", facts.model);
  const StepFigures& last = state.steps.back().figures;
  page.facts(
      {{"size", short_bytes(static_cast<double>(last.bytes)),
        fmt::format("{:.1f}x smaller than fp32", 1 / last.size())},
       {"perplexity", fmt::format("{:.4f}", last.perplexity()),
        fmt::format("{:+.2f} % beside the base", 100 * (last.perplexity() / state.base->perplexity() - 1))},
       {"tokens/s", fmt::format("{:.1f}", last.tokens_per_second),
        fmt::format("the base {:.1f}", state.base->tokens_per_second)},
       {"time", short_duration(facts.seconds), "predicted " + short_duration(facts.predicted_seconds)}});
  page.heading("Steps");
  page.table(steps_table(state));
  page.note("Calibrated on " + facts.calibration + "; measured on " + facts.evaluation +
            ". After ± are standard errors over tokens.");
  units_on_page(page, state);
  trainings_on_page(page, state);
  page.heading("Matrices");
  for (const StepRecord& step : state.steps) errors_by_layer(page, step);
  for (const StepRecord& step : state.steps) {
    // Behind it they stay.
    if (!step.zeros.empty() && !step.outcomes.empty()) zeros_by_layer(page, step);
  }
  for (const StepRecord& step : state.steps) {
    if (!step.outcomes.empty()) page.table(matrices_table(step));
  }
  page.heading("Arguments");
  std::string text;
  for (const auto& [key, value] : state.identity) text += fmt::format("{}: {}\n", key, value);
  page.text_block("what this is of", text);
  return page.html();
}

}  // namespace trireme::launch
