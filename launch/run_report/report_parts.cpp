#include "launch/run_report/report_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/run_report/records.h"
#include "launch/run_report/thin.h"

namespace trireme::launch {

ChartAxis axis_of_positions(const Positions& positions, size_t per_point) {
  const Positions at = thinned(positions, per_point);
  return {{"step", at.step}, {"tokens", at.tokens}, {"hours", at.hours}};
}

void add_by_run(Page& page, const std::vector<RunData>& runs, const std::string& heading,
                const std::function<bool(const RunData&)>& has, const std::string& absent,
                const std::function<void(const RunData&)>& add) {
  const bool any = std::ranges::any_of(runs, has);
  if (!any && absent.empty()) return;
  page.heading(heading);
  if (!any) return page.note(absent);
  for (const RunData& run : runs) {
    if (!has(run)) continue;
    if (runs.size() > 1) page.subheading(run.name);
    add(run);
  }
}

std::string thinned_note(size_t per_point, const char* what) {
  if (per_point == 1) return "";
  return fmt::format("Each point stands for {} {}: their mean, and their range as a band.", per_point, what);
}

std::vector<double> finite_values(const RecordTable& columns, const std::string& key) {
  std::vector<double> values;
  if (const auto found = columns.values.find(key); found != columns.values.end())
    std::ranges::copy_if(found->second, std::back_inserter(values),
                         [](double v) { return std::isfinite(v); });
  return values;
}

double last_value(const RecordTable& columns, const std::string& key) {
  const auto values = finite_values(columns, key);
  return values.empty() ? kNoValue : values.back();
}

double least_value(const RecordTable& columns, const std::string& key) {
  const auto values = finite_values(columns, key);
  return values.empty() ? kNoValue : *std::ranges::min_element(values);
}

double median_value(const RecordTable& columns, const std::string& key) {
  auto values = finite_values(columns, key);
  if (values.empty()) return kNoValue;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::string or_dash(double value, const std::function<std::string(double)>& text) {
  return std::isfinite(value) ? text(value) : "–";
}

}  // namespace trireme::launch
