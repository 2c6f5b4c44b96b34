#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/scale/tables.h"

namespace trireme::launch {

namespace {

using Json = nlohmann::json;

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

std::string csv_line(const std::vector<std::string>& cells) {
  std::vector<std::string> quoted;
  for (const std::string& cell : cells) quoted.push_back(csv_cell(cell));
  return fmt::format("{}\r\n", fmt::join(quoted, ","));
}

std::vector<std::string> share_keys(const SeriesResult& series) {
  std::vector<std::string> keys;
  for (const PointResult& result : series.results) {
    for (const PartShare& part : result.shares) {
      if (std::ranges::find(keys, part.key) == keys.end()) keys.push_back(part.key);
    }
  }
  return keys;
}

std::vector<std::string> csv_head(const SeriesResult& series, const std::vector<std::string>& keys) {
  std::vector<std::string> cells = {"ranks"};
  if (!series.points.empty()) {
    for (const auto& [key, value] : series.points.front().values) cells.push_back(key);
  }
  for (const char* name : {"layout", "global_batch", "tokens_per_step", "oversubscribed", "left_out", "runs",
                           "failed", "error", "tok_s_median", "tok_s_min", "tok_s_max", "efficiency", "mfu",
                           "step_ms", "predicted_bytes", "measured_bytes", "hosts"})
    cells.emplace_back(name);
  for (const std::string& key : keys) cells.push_back("share " + key);
  return cells;
}

void add_measured(std::vector<std::string>& cells, const PointResult& result,
                  const std::vector<std::string>& keys) {
  const bool is_measured = result.tok_s.count > 0;
  const auto known = [](int64_t value) { return value > 0 ? fmt::to_string(value) : std::string(); };
  cells.insert(cells.end(),
               {fmt::to_string(result.runs), fmt::to_string(result.failed), result.error,
                csv_number(result.tok_s.median), csv_number(result.tok_s.least),
                csv_number(result.tok_s.most), result.efficiency ? csv_number(*result.efficiency) : "",
                is_measured ? csv_number(result.mfu) : "", csv_number(result.step_ms),
                known(result.predicted_bytes), known(result.measured_bytes), known(result.hosts)});
  for (const std::string& key : keys) {
    const auto part = std::ranges::find(result.shares, key, &PartShare::key);
    cells.push_back(part == result.shares.end() ? "" : csv_number(part->share));
  }
}

Json json_of(const Point& point) {
  Json values = Json::object();
  for (const auto& [key, value] : point.values) values[key] = value;
  Json json = {{"ranks", point.ranks}, {"values", values}, {"oversubscribed", point.oversubscribed}};
  if (!point.left_out.empty()) {
    json["left_out"] = point.left_out;
    return json;
  }
  json["layout"] = point.facts.layout;
  json["global_batch"] = point.facts.global_batch;
  json["tokens_per_step"] = point.facts.tokens_per_step;
  return json;
}

Json json_of(const PointResult& result, const SeriesResult& series) {
  Json json = json_of(series.points[result.point]);
  json["point"] = result.point;
  json["baseline"] = result.baseline;
  json["runs"] = result.runs;
  json["failed"] = result.failed;
  if (result.failed > 0) json["error"] = {{"code", result.error_code}, {"text", result.error}};
  if (result.tok_s.count == 0) return json;
  json["tok_s"] = {{"median", result.tok_s.median}, {"min", result.tok_s.least}, {"max", result.tok_s.most}};
  if (result.efficiency) json["efficiency"] = *result.efficiency;
  json["mfu"] = result.mfu;
  json["mfu_sure"] = result.is_mfu_sure;
  json["step_ms"] = result.step_ms;
  if (result.predicted_bytes > 0) json["predicted_bytes"] = result.predicted_bytes;
  json["measured_bytes"] = result.measured_bytes;
  json["hosts"] = result.hosts;
  json["shares"] = Json::array();
  for (const PartShare& part : result.shares)
    json["shares"].push_back({{"part", part.key}, {"share", part.share}, {"lost", part.lost}});
  return json;
}

Json json_of(const RunOutcome& outcome) {
  Json json = {{"point", outcome.point},
               {"repeat", outcome.repeat},
               {"code", outcome.code},
               {"seconds", outcome.seconds}};
  if (!outcome.error.empty()) json["error"] = outcome.error;
  if (!outcome.measured) return json;
  json["tok_s"] = outcome.measured->tok_s;
  json["step_ms"] = outcome.measured->step_ms;
  json["steps"] = outcome.measured->steps;
  if (outcome.measured->parts) {
    for (const auto& [key, ms] : outcome.measured->parts->ms) json["parts_ms"][key] = ms;
  }
  return json;
}

Json json_of(const LineResult& line) {
  Json json = {
      {"points", line.line}, {"rank_counts", line.fit.rank_counts}, {"oversubscribed", line.oversubscribed}};
  if (!line.fit.missing.empty()) {
    json["missing"] = line.fit.missing;
    return json;
  }
  json["serial_fraction"] = line.fit.fraction;
  json["standard_error"] = line.fit.error;
  json["r2"] = line.fit.r2;
  return json;
}

}  // namespace

std::string csv_report(const SeriesResult& series) {
  const std::vector<std::string> keys = share_keys(series);
  const std::vector<std::string> head = csv_head(series, keys);
  std::string text = csv_line(head);
  for (size_t i = 0; i < series.points.size(); ++i) {
    const Point& point = series.points[i];
    std::vector<std::string> cells = {fmt::to_string(point.ranks)};
    for (const auto& [key, value] : point.values) cells.push_back(value);
    const bool fits = point.left_out.empty();
    cells.insert(cells.end(), {point.facts.layout, fits ? fmt::to_string(point.facts.global_batch) : "",
                               fits ? fmt::to_string(point.facts.tokens_per_step) : "",
                               point.oversubscribed ? "yes" : "no", point.left_out});
    const auto result = std::ranges::find(series.results, i, &PointResult::point);
    if (result != series.results.end()) add_measured(cells, *result, keys);
    cells.resize(head.size());
    text += csv_line(cells);
  }
  return text;
}

std::string json_report(const SeriesResult& series, const SeriesFacts& facts,
                        const std::vector<RunOutcome>& outcomes) {
  Json json = {{"mode", to_string(series.mode)},
               {"advice", series.advice},
               {"missing_runs", series.missing},
               {"warnings", warnings_of(series)}};
  for (const auto& [name, value] : facts) json["facts"][name] = value;
  for (const char* list : {"points", "left_out", "fits", "runs"}) json[list] = Json::array();
  for (const PointResult& result : series.results) json["points"].push_back(json_of(result, series));
  for (const Point& point : series.points) {
    if (!point.left_out.empty()) json["left_out"].push_back(json_of(point));
  }
  for (const LineResult& line : series.lines) json["fits"].push_back(json_of(line));
  for (const RunOutcome& outcome : outcomes) json["runs"].push_back(json_of(outcome));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace trireme::launch
