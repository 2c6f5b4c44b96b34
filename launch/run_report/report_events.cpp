// The words of a report: events, samples of text, configurations.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <set>

#include <fmt/format.h>

#include "launch/report/number_text.h"
#include "launch/run_report/report_page.h"
#include "launch/run_report/report_parts.h"

namespace trireme::launch {

namespace {

constexpr size_t kMostEvents = 300;
constexpr size_t kMostSamples = 20;
constexpr size_t kMostText = 2000;  // bytes of an event

/// "2026-11-29 21:05:09" in UTC, so that a page is the same wherever it is made.
std::string moment_text(double time) {
  if (!(time > 0) || time > 253402300799.0) return "";
  const auto seconds = static_cast<std::time_t>(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

/// 0 is told before all others where there are too many to tell.
int importance(const std::string& kind) {
  if (kind == "start" || kind == "resume" || kind == "stop" || kind == "end") return 0;
  if (kind == "straggler" || kind == "warning" || kind == "skip") return 1;
  return 2;
}

/// Samples have a section of their own, evaluations a curve.
bool is_told(const std::string& kind) { return kind != "sample" && kind != "evaluation"; }

/// Which are told, in their order: of the more important kinds the latest.
std::vector<size_t> told_events(const std::vector<HappeningOfRun>& events) {
  std::vector<size_t> order;
  for (size_t i = 0; i < events.size(); ++i)
    if (is_told(events[i].kind)) order.push_back(i);
  if (order.size() <= kMostEvents) return order;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    const int of_a = importance(events[a].kind), of_b = importance(events[b].kind);
    return of_a != of_b ? of_a < of_b : a > b;
  });
  order.resize(kMostEvents);
  std::ranges::sort(order);
  return order;
}

std::string shortened_text(const std::string& text) {
  if (text.size() <= kMostText) return text;
  size_t at = kMostText;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u) --at;
  return text.substr(0, at) + fmt::format(" … ({} more bytes)", text.size() - at);
}

void add_event_table(Page& page, const RunData& run) {
  const std::vector<size_t> told = told_events(run.events);
  Table table{{{"step", true}, {"time (UTC)", false, true}, {"what", false, true}, {""}}, {}};
  table.is_long = told.size() > 15;
  for (const size_t i : told) {
    const HappeningOfRun& event = run.events[i];
    table.rows.push_back(
        {grouped(event.step), moment_text(event.time), event.kind, shortened_text(event.text)});
  }
  page.table(table);
  std::map<std::string, int64_t> left_out;
  for (const HappeningOfRun& event : run.events)
    if (is_told(event.kind)) ++left_out[event.kind];
  for (const size_t i : told) --left_out[run.events[i].kind];
  std::string text;
  for (const auto& [kind, num] : left_out)
    if (num > 0) text += fmt::format("{}{} of kind {}", text.empty() ? "" : ", ", grouped(num), kind);
  if (!text.empty()) page.note(fmt::format("Left out, being many: {}. events.jsonl has all.", text));
}

std::vector<const HappeningOfRun*> samples_of(const RunData& run) {
  std::vector<const HappeningOfRun*> samples;
  for (const HappeningOfRun& event : run.events)
    if (event.kind == "sample") samples.push_back(&event);
  return samples;
}

void add_run_samples(Page& page, const RunData& run) {
  const auto samples = samples_of(run);
  const size_t begin = samples.size() > kMostSamples ? samples.size() - kMostSamples : 0;
  for (size_t i = begin; i < samples.size(); ++i)
    page.text_block(fmt::format("After step {}", grouped(samples[i]->step)),
                    shortened_text(samples[i]->text));
  if (begin > 0) page.note(fmt::format("The last {} of {} samples.", kMostSamples, samples.size()));
}

void add_differences(Page& page, const std::vector<RunData>& runs) {
  std::set<std::string> keys;
  for (const RunData& run : runs)
    for (const auto& [key, value] : run.config) keys.insert(key);
  Table table{{{"option"}}, {}, "", false};
  for (const RunData& run : runs) table.columns.push_back({run.name});
  size_t same = 0;
  for (const std::string& key : keys) {
    std::vector<std::string> row = {key};
    for (const RunData& run : runs) {
      const auto found = run.config.find(key);
      row.push_back(found == run.config.end() ? "–" : found->second);
    }
    if (std::ranges::all_of(row.begin() + 2, row.end(),
                            [&](const std::string& value) { return value == row[1]; })) {
      ++same;
    } else {
      table.rows.push_back(std::move(row));
    }
  }
  if (table.rows.empty()) return page.note("All options of these runs are the same.");
  page.table(table);
  page.note(fmt::format("{} other options are the same in all of them.", same));
}

}  // namespace

void add_events(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "Events", [](const RunData& run) { return !run.events.empty(); },
      "No events: the directory has no events.jsonl, or it is empty.",
      [&](const RunData& run) { add_event_table(page, run); });
}

void add_samples(Page& page, const std::vector<RunData>& runs) {
  add_by_run(
      page, runs, "Samples of text", [](const RunData& run) { return !samples_of(run).empty(); }, "",
      [&](const RunData& run) { add_run_samples(page, run); });
}

void add_configs(Page& page, const std::vector<RunData>& runs) {
  page.heading("Configuration");
  if (runs.size() > 1) add_differences(page, runs);
  for (const RunData& run : runs) {
    if (!run.config_changes.empty()) {
      Table changes{{{runs.size() > 1 ? run.name + ", changed on resume" : "changed on resume"}}, {}};
      for (const std::string& change : run.config_changes) changes.rows.push_back({change});
      page.table(changes);
    }
    if (run.config.empty()) continue;
    Table all{
        {{"option"}, {"value"}}, {}, runs.size() > 1 ? "All options of " + run.name : "All options", true};
    for (const auto& [key, value] : run.config) all.rows.push_back({key, value});
    page.table(all);
  }
}

}  // namespace trireme::launch
