// Where time and memory go, in a report: by part of a step, by category, by expert, by rank, by op.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "launch/run_report/report_page.h"
#include "launch/run_report/report_parts.h"
#include "launch/run_report/thin.h"

namespace trireme::launch {

namespace {

constexpr size_t kMostPointsOfWindows = 600;

/// All columns as areas on one another.
void draw_stacked(Page& page, const RecordTable& columns, LineChart chart, const char* what) {
  const size_t per_point = values_per_point(columns.at.size(), kMostPointsOfWindows);
  const int axis = page.add_axis(axis_of_positions(columns.at, per_point));
  for (const std::string& key : columns.order)
    chart.series.push_back({key, axis, thin(columns.values.at(key), per_point).mean});
  chart.is_stacked = true;
  if (per_point > 1) chart.note += fmt::format(" Each point is the mean of {} {}.", per_point, what);
  page.lines(chart);
}

double finite_mean(const std::vector<double>& values) {
  double sum = 0, num = 0;
  for (const double value : values)
    if (std::isfinite(value)) sum += value, ++num;
  return num > 0 ? sum / num : kNoValue;
}

void draw_shares(Page& page, const RecordTable& breakdown) {
  BarChart chart{.title = "Share of the step time, mean of the run",
                 .unit = Unit::percent,
                 .parts = {},
                 .rows = {"whole run"},
                 .values = {{}},
                 .is_share = true,
                 .is_wide = true};
  double sum = 0;
  std::vector<double> means;
  for (const std::string& key : breakdown.order) {
    means.push_back(std::max(0.0, finite_mean(breakdown.values.at(key))));
    sum += means.back();
  }
  if (!(sum > 0)) return;
  for (size_t i = 0; i < means.size(); ++i) {
    chart.parts.push_back(fmt::format("{} {:.1f} %", breakdown.order[i], 100 * means[i] / sum));
    chart.values[0].push_back(means[i] / sum);
  }
  page.bars(chart);
}

std::vector<double> row_major(const std::vector<std::vector<double>>& rows) {
  std::vector<double> values;
  for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
  return values;
}

std::vector<std::string> numbered(const char* what, size_t num) {
  std::vector<std::string> names;
  for (size_t i = 0; i < num; ++i) names.push_back(fmt::format("{} {}", what, i));
  return names;
}

void draw_loads(Page& page, const ExpertLoads& loads) {
  const int axis = page.add_axis(axis_of_positions(loads.at));
  for (const LayerLoad& layer : loads.layers) {
    page.heat_map({.title = fmt::format("Layer {}: share of the tokens that each expert got", layer.layer),
                   .unit = Unit::percent,
                   .axis = axis,
                   .rows = numbered("expert", layer.of_expert.size()),
                   .values = row_major(layer.of_expert),
                   .row_name = "expert",
                   .note = loads.records_per_window == 1 ? ""
                                                         : fmt::format("Each column is the mean of {} steps.",
                                                                       loads.records_per_window)});
  }
}

void draw_experts(Page& page, const RunData& run) {
  const size_t per_point = values_per_point(run.experts.at.size(), kMostPointsOfWindows);
  const int axis = page.add_axis(axis_of_positions(run.experts.at, per_point));
  const auto draw = [&](const char* key, const char* title, Unit unit) {
    Band band = thin(run.experts.values.at(key), per_point);
    page.lines({.title = title,
                .unit = unit,
                .series = {{title, axis, std::move(band.mean), std::move(band.low), std::move(band.high),
                            std::move(band.count)}},
                .is_smoothed = true,
                .from_zero = true,
                .note = thinned_note(per_point, "steps")});
  };
  draw("imbalance", "Largest load of an expert, times the mean, worst layer", Unit::plain);
  const auto any = [&](const char* key) {
    return std::ranges::any_of(run.experts.values.at(key), [](double v) { return v > 0; });
  };
  if (any("dropped")) draw("dropped", "Share of the choices that were dropped, worst layer", Unit::percent);
  if (any("dead")) draw("dead", "Experts without a token, all layers", Unit::plain);
  draw_loads(page, *run.loads);
}

/// Over all ranks, window by window.
void draw_spread(Page& page, const RankTimesTable& ranks, int axis) {
  const auto& rows = ranks.values.at("compute_ms");
  std::vector<double> low, middle, high;
  for (size_t w = 0; w < ranks.at.size(); ++w) {
    std::vector<double> column;
    for (const auto& row : rows)
      if (std::isfinite(row[w])) column.push_back(row[w]);
    std::ranges::sort(column);
    low.push_back(column.empty() ? kNoValue : column.front());
    middle.push_back(column.empty() ? kNoValue : column[(column.size() - 1) / 2]);
    high.push_back(column.empty() ? kNoValue : column.back());
  }
  page.lines({.title = "Compute time of a step: fastest, median and slowest rank",
              .unit = Unit::ms,
              .series = {{"median rank", axis, middle, low, high},
                         {"slowest rank", axis, high, {}, {}, {}, Style::dashed}},
              .from_zero = true});
}

void draw_by_rank(Page& page, const RankTimesTable& ranks) {
  std::vector<double> numbers(ranks.num_ranks);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const int axis = page.add_axis("rank", numbers);
  LineChart chart{.title = "By rank, mean of the run", .unit = Unit::ms, .series = {}, .from_zero = true};
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"compute_ms", "compute"}, {"wait_ms", "waiting for others"}, {"imbalance_ms", "of it, imbalance"}};
  for (const auto& [key, name] : kNames) {
    const auto found = ranks.values.find(key);
    if (found == ranks.values.end()) continue;
    std::vector<double> means;
    for (const auto& row : found->second) means.push_back(finite_mean(row));
    chart.series.push_back({name, axis, means});
  }
  page.lines(chart);
}

void draw_ranks(Page& page, const RunData& run) {
  const RankTimesTable& ranks = *run.ranks;
  const int axis = page.add_axis(axis_of_positions(ranks.at));
  if (ranks.values.contains("compute_ms")) {
    draw_spread(page, ranks, axis);
    draw_by_rank(page, ranks);
    page.heat_map(
        {.title = "Compute time of a step, by rank",
         .unit = Unit::ms,
         .axis = axis,
         .rows = numbered("rank", ranks.num_ranks),
         .values = row_major(ranks.values.at("compute_ms")),
         .row_name = "rank",
         .is_wide = true,
         .note = ranks.records_per_window == 1
                     ? ""
                     : fmt::format("Each column is the mean of {} log windows.", ranks.records_per_window)});
  }
}

}  // namespace

void add_time_and_memory(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "Where the time goes", [](const RunData& run) { return run.breakdown.at.size() > 0; },
      "No breakdown of the step time: metrics.jsonl has none.",
      [&](const RunData& run) {
        draw_shares(page, run.breakdown);
        draw_stacked(page, run.breakdown,
                     {.title = "Time of a step, by what it is spent on",
                      .unit = Unit::ms,
                      .series = {},
                      .is_wide = true,
                      .note = "Means over all ranks."},
                     "log windows");
      });
  add_by_run(
      page, runs, "Memory", [](const RunData& run) { return run.memory.at.size() > 0; },
      "No memory by category: metrics.jsonl has none.",
      [&](const RunData& run) {
        draw_stacked(
            page, run.memory,
            {.title = "Peak memory of a rank, by category",
             .unit = Unit::bytes,
             .series = {},
             .is_wide = true,
             .note =
                 "The largest of all ranks in each log window; peaks of categories need not be at one time."},
            "log windows");
      });
}

void add_experts(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "Experts", [](const RunData& run) { return run.loads.has_value(); }, "",
      [&](const RunData& run) { draw_experts(page, run); });
}

void add_ranks(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "Ranks", [](const RunData& run) { return run.ranks && run.ranks->at.size() > 0; }, "",
      [&](const RunData& run) { draw_ranks(page, run); });
}

void add_timelines(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "One step in detail", [](const RunData& run) { return run.timeline.has_value(); },
      "No step was profiled (--run.profile-step).",
      [&](const RunData& run) { page.timeline(*run.timeline); });
}

}  // namespace trireme::launch
