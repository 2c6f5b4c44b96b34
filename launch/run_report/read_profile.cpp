// profile.json: the trace of a step as a timeline, fine enough to be looked at.
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "launch/run_report/read_run.h"
#include "launch/run_report/records.h"

namespace trireme::launch {

namespace {

constexpr size_t kMostRows = 64;
constexpr size_t kMostSpans = 12'000;
constexpr double kMsPerMicrosecond = 1e-3;

struct TraceEvent {
  int64_t rank;
  std::string kind, name;
  double begin, end;
  bool is_wait;
};

std::vector<TraceEvent> trace_events(const nlohmann::json& trace) {
  std::vector<TraceEvent> events;
  for (const nlohmann::json& event : trace) {
    if (!event.is_object() || text_at(event, "ph") != "X") continue;
    const double begin = number_at(event, "ts") * kMsPerMicrosecond,
                 length = number_at(event, "dur") * kMsPerMicrosecond;
    if (!std::isfinite(begin) || !(length >= 0)) continue;
    const int64_t row = whole_at(event, "tid");  // as TraceRow has them
    if (row > 1) continue;                       // phases, and calls of groups
    const bool is_wait = row != 0;
    const std::string category = text_at(event, "cat");
    events.push_back({whole_at(event, "pid"), is_wait ? "waits: " + category : category,
                      text_at(event, "name"), begin, begin + length, is_wait});
  }
  std::ranges::stable_sort(events, [](const TraceEvent& a, const TraceEvent& b) {
    return std::tuple(a.rank, a.is_wait, a.begin) < std::tuple(b.rank, b.is_wait, b.begin);
  });
  return events;
}

/// Neighbours of a row and kind that lie closer than `gap` become one.
std::vector<TraceEvent> joined_events(const std::vector<TraceEvent>& events, double gap) {
  std::vector<TraceEvent> out;
  std::vector<int> number;
  for (const TraceEvent& event : events) {
    const bool is_more = !out.empty() && out.back().rank == event.rank && out.back().kind == event.kind &&
                         event.begin - out.back().end < gap;
    if (!is_more) {
      out.push_back(event);
      number.push_back(1);
      continue;
    }
    out.back().end = std::max(out.back().end, event.end);
    ++number.back();
  }
  for (size_t i = 0; i < out.size(); ++i)
    if (number[i] > 1) out[i].name = fmt::format("{} and {} more", out[i].name, number[i] - 1);
  return out;
}

}  // namespace

void read_profile(const std::string& text, RunData& run) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("traceEvents") || !json["traceEvents"].is_array()) {
    run.problems.push_back("profile.json: is no trace");
    return;
  }
  const std::vector<TraceEvent> events = trace_events(json["traceEvents"]);
  if (events.empty()) return;
  double begin = events.front().begin, end = events.front().end;
  for (const TraceEvent& event : events) begin = std::min(begin, event.begin), end = std::max(end, event.end);
  // What no screen shows apart; more of it where there is still too much.
  double gap = (end - begin) / 4000;
  std::vector<TraceEvent> shown = joined_events(events, gap);
  while (shown.size() > kMostSpans && gap < end - begin) shown = joined_events(events, gap *= 2);
  GanttChart timeline;
  timeline.title = "Timeline of the profiled step";
  std::map<int64_t, int> rows;
  std::map<std::string, int> kinds;
  size_t num_ranks = 0;
  for (const TraceEvent& event : shown) {
    if (!rows.contains(event.rank)) {
      ++num_ranks;
      if (rows.size() == kMostRows) continue;
      rows.emplace(event.rank, static_cast<int>(rows.size()));
      timeline.rows.push_back(fmt::format("rank {}", event.rank));
    }
    const auto [kind, is_new] = kinds.emplace(event.kind, static_cast<int>(kinds.size()));
    if (is_new) timeline.kinds.push_back(event.kind);
    timeline.spans.push_back({rows[event.rank], kind->second, event.begin - begin, event.end - event.begin,
                              fmt::format("{} ({})", event.name, event.kind)});
  }
  timeline.note =
      shown.size() == events.size()
          ? "Drag to zoom in, double-click to see all of it."
          : fmt::format(
                "Drag to zoom in, double-click to see all of it. Neighbours of one kind less than "
                "{:.3g} ms apart are drawn as one.",
                gap);
  if (num_ranks > kMostRows) timeline.note += fmt::format(" Shown are the first {} ranks.", kMostRows);
  run.timeline = std::move(timeline);
}

}  // namespace trireme::launch
