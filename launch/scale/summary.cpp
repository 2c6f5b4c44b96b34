#include "launch/scale/summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "launch/scale/advice.h"
#include "launch/scale/shares.h"

namespace trireme::launch {

namespace {

using Outcomes = std::vector<const RunOutcome*>;

double median_of(const Outcomes& runs, double RunMeasurement::*field) {
  std::vector<double> values;
  for (const RunOutcome* run : runs) {
    if (run->measured) values.push_back((*run->measured).*field);
  }
  return spread_of(values).median;
}

std::optional<PartsOfPoint> parts_of_point(const Point& point, const Outcomes& runs) {
  std::vector<StepParts> all;
  for (const RunOutcome* run : runs) {
    if (run->measured && run->measured->parts) all.push_back(*run->measured->parts);
  }
  const auto mean = mean_parts(all);
  if (!mean) return std::nullopt;
  return PartsOfPoint{*mean, point.ranks, point.facts.tokens_per_step};
}

PointResult result_of(size_t index, const Outcomes& runs) {
  PointResult result;
  result.point = result.baseline = index;
  std::vector<double> rates;
  for (const RunOutcome* run : runs) {
    ++result.runs;
    if (!run->measured) {
      if (result.failed++ == 0) result.error = run->error, result.error_code = run->code;
      continue;
    }
    const RunMeasurement& measured = *run->measured;
    rates.push_back(measured.tok_s);
    result.is_mfu_sure = result.is_mfu_sure && measured.is_mfu_sure;
    result.measured_bytes = std::max(result.measured_bytes, measured.measured_bytes);
    result.predicted_bytes = std::max(result.predicted_bytes, measured.predicted_bytes);
    result.hosts = std::max(result.hosts, measured.hosts);
  }
  result.tok_s = spread_of(rates);
  result.step_ms = median_of(runs, &RunMeasurement::step_ms);
  result.mfu = median_of(runs, &RunMeasurement::mfu);
  return result;
}

bool is_measured(const PointResult& result) { return result.tok_s.count > 0 && result.tok_s.median > 0; }

/// By group the index of its baseline's point.
std::map<std::string, const PointResult*> baselines_of(const std::vector<Point>& points,
                                                       const std::vector<PointResult>& results) {
  std::map<std::string, const PointResult*> baselines;
  for (const PointResult& result : results) {  // ascending rank counts
    if (!is_measured(result)) continue;
    const PointResult*& best = baselines[points[result.point].group()];
    if (best == nullptr ||
        (points[result.point].ranks == points[best->point].ranks && result.tok_s.median > best->tok_s.median))
      best = &result;
  }
  return baselines;
}

void add_throughputs(const Outcomes& runs, int ranks, std::vector<Throughput>& all) {
  for (const RunOutcome* run : runs) {
    if (run->measured) all.push_back({ranks, run->measured->tok_s});
  }
}

std::vector<LineResult> lines_of(const SeriesResult& series, const std::vector<Outcomes>& runs) {
  std::vector<std::string> names;
  for (const PointResult& result : series.results) {
    const std::string line = series.points[result.point].line();
    if (std::ranges::find(names, line) == names.end()) names.push_back(line);
  }
  std::vector<LineResult> lines;
  for (const std::string& name : names) {
    LineResult line{name, {}};
    std::vector<Throughput> all;
    const PointResult* first = nullptr;
    for (const PointResult& result : series.results) {
      const Point& point = series.points[result.point];
      if (point.line() != name || !is_measured(result)) continue;
      if (first == nullptr) first = &result;
      line.oversubscribed = line.oversubscribed || point.oversubscribed;
      add_throughputs(runs[result.point], point.ranks, all);
    }
    if (first != nullptr) {
      const Point& baseline = series.points[first->baseline];
      if (baseline.ranks < series.points[first->point].ranks)
        add_throughputs(runs[first->baseline], baseline.ranks, all);
    }
    line.fit = fit_serial_fraction(series.mode, all);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

SeriesResult summarise(ScaleMode mode, std::vector<Point> points, const std::vector<RunOutcome>& outcomes,
                       int repeats) {
  SeriesResult series;
  series.mode = mode;
  series.points = std::move(points);
  std::vector<Outcomes> runs(series.points.size());
  for (const RunOutcome& outcome : outcomes) runs[outcome.point].push_back(&outcome);
  for (size_t i = 0; i < series.points.size(); ++i) {
    if (!series.points[i].left_out.empty()) continue;
    series.results.push_back(result_of(i, runs[i]));
    series.missing += std::max(0, repeats - series.results.back().runs);
  }
  const auto baselines = baselines_of(series.points, series.results);
  for (PointResult& result : series.results) {
    const Point& point = series.points[result.point];
    const auto found = baselines.find(point.group());
    if (found == baselines.end()) continue;
    const Point& base = series.points[found->second->point];
    result.baseline = found->second->point;
    if (!is_measured(result)) continue;
    result.efficiency = result.tok_s.median / point.ranks / (found->second->tok_s.median / base.ranks);
    const auto parts = parts_of_point(point, runs[result.point]);
    const auto base_parts = parts_of_point(base, runs[result.baseline]);
    if (parts) result.shares = shares_against(*parts, base_parts ? *base_parts : *parts);
  }
  series.lines = lines_of(series, runs);
  series.advice = advice_for(series);
  return series;
}

}  // namespace trireme::launch
