#include "launch/scale/tables.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"

namespace trireme::launch {

namespace {

/// Characters of a UTF-8 text.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u; }));
}

std::string whole_number(double value) {
  return std::isfinite(value) ? grouped(std::llround(value)) : std::string("-");
}

std::string rate_text(const Spread& rate) {
  if (rate.count == 0) return "-";
  const bool is_small = rate.median < 100;
  const auto text = [&](double value) {
    return is_small ? fmt::format("{:.4g}", value) : whole_number(value);
  };
  if (rate.count == 1) return text(rate.median);
  return fmt::format("{} ({}..{})", text(rate.median), text(rate.least), text(rate.most));
}

std::string percent_text(double share, int digits) {
  if (!std::isfinite(share)) return "-";
  const std::string text = fmt::format("{:.{}f}", 100 * share, digits);
  return text == "-0.0" || text == "-0" ? text.substr(1) : text;
}

std::string bytes_text(int64_t bytes) {
  return bytes > 0 ? short_bytes(static_cast<double>(bytes)) : std::string("-");
}

/// "2", "4!" with more ranks than cores, and the values of the swept options.
std::vector<std::string> point_cells(const Point& point) {
  std::vector<std::string> cells = {fmt::format("{}{}", point.ranks, point.oversubscribed ? "!" : "")};
  for (const auto& [key, value] : point.values) cells.push_back(visible(value));
  return cells;
}

std::vector<std::string> point_columns(const SeriesResult& series) {
  std::vector<std::string> columns = {"ranks"};
  if (series.points.empty()) return columns;
  for (const auto& [key, value] : series.points.front().values)
    columns.push_back(key.substr(key.find('.') + 1));
  return columns;
}

}  // namespace

std::vector<std::string> shown_parts(const SeriesResult& series) {
  std::vector<std::string> keys;
  for (const PointResult& result : series.results) {
    auto at = keys.begin();
    for (const PartShare& part : result.shares) {
      const auto found = std::ranges::find(keys, part.key);
      at = found == keys.end() ? keys.insert(at, part.key) + 1 : found + 1;
    }
  }
  constexpr double kVisible = 5e-4;
  const auto is_seen = [&](const std::string& key) {
    return std::ranges::any_of(series.results, [&](const PointResult& result) {
      return std::ranges::any_of(result.shares, [&](const PartShare& part) {
        return part.key == key && std::abs(part.share) >= kVisible;
      });
    });
  };
  std::erase_if(keys, [&](const std::string& key) { return key != "compute" && !is_seen(key); });
  return keys;
}

std::string part_name(const std::string& key) {
  return key.starts_with("exposed.") ? "exposed " + key.substr(8) : key;
}

std::string aligned(const TextTable& table) {
  std::vector<size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(width_of(column));
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - width_of(row[i]), ' ');
      const bool is_last = i + 1 == table.columns.size();
      line += (i == 0 ? "" : "  ") + (is_last ? row[i] : pad + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add(table.columns);
  for (const auto& row : table.rows) add(row);
  return text;
}

TextTable speed_table(const SeriesResult& series) {
  TextTable table{point_columns(series), {}};
  for (const char* column : {"global batch", "tokens/s (min..max)", "efficiency %", "MFU %", "ms a step",
                             "memory predicted", "measured", "layout"})
    table.columns.emplace_back(column);
  for (const PointResult& result : series.results) {
    const Point& point = series.points[result.point];
    auto row = point_cells(point);
    const bool is_baseline = result.point == result.baseline && result.efficiency.has_value();
    row.push_back(grouped(point.facts.global_batch));
    row.push_back(result.tok_s.count == 0 && result.failed > 0 ? "failed" : rate_text(result.tok_s));
    row.push_back(!result.efficiency ? "-"
                                     : percent_text(*result.efficiency, 1) + (is_baseline ? " base" : ""));
    row.push_back(result.tok_s.count == 0 ? "-"
                                          : percent_text(result.mfu, 1) + (result.is_mfu_sure ? "" : "?"));
    row.push_back(std::isfinite(result.step_ms) ? fmt::format("{:.1f}", result.step_ms) : "-");
    row.push_back(bytes_text(result.predicted_bytes));
    row.push_back(bytes_text(result.measured_bytes));
    row.push_back(point.facts.layout);
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable share_table(const SeriesResult& series) {
  TextTable table{point_columns(series), {}};
  const std::vector<std::string> keys = shown_parts(series);
  for (const std::string& key : keys) table.columns.push_back(part_name(key));
  table.columns.emplace_back("sum");
  for (const PointResult& result : series.results) {
    if (result.shares.empty()) continue;
    auto row = point_cells(series.points[result.point]);
    double sum = 0;
    for (const PartShare& part : result.shares) sum += part.share;
    for (const std::string& key : keys) {
      const auto part = std::ranges::find(result.shares, key, &PartShare::key);
      row.push_back(part == result.shares.end() ? "-" : percent_text(part->share, 1));
    }
    row.push_back(percent_text(sum, 0));
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable fit_table(const SeriesResult& series) {
  TextTable table{{"points", "serial fraction", "standard error", "R^2", "rank counts", "note"}, {}};
  for (const LineResult& line : series.lines) {
    const SerialFraction& fit = line.fit;
    const bool is_there = fit.missing.empty();
    std::string note = fit.missing;
    if (is_there && line.oversubscribed) note = "more ranks than cores in it: no property of the program";
    if (is_there && fit.fraction < 0) note += std::string(note.empty() ? "" : "; ") + "faster than linear";
    table.rows.push_back(
        {line.line.empty() ? "all" : visible(line.line), is_there ? fmt::format("{:.4f}", fit.fraction) : "-",
         is_there ? fmt::format("{:.4f}", fit.error) : "-", is_there ? fmt::format("{:.4f}", fit.r2) : "-",
         fmt::to_string(fit.rank_counts), note});
  }
  return table;
}

TextTable left_out_table(const SeriesResult& series) {
  TextTable table{point_columns(series), {}};
  table.columns.emplace_back("why it is left out");
  for (const Point& point : series.points) {
    if (point.left_out.empty()) continue;
    auto row = point_cells(point);
    std::string why = visible(point.left_out);
    std::ranges::replace(why, '\n', ' ');
    row.push_back(std::move(why));
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable failure_table(const SeriesResult& series) {
  TextTable table{point_columns(series), {}};
  for (const char* column : {"failed", "exit", "first error"}) table.columns.emplace_back(column);
  for (const PointResult& result : series.results) {
    if (result.failed == 0) continue;
    auto row = point_cells(series.points[result.point]);
    row.push_back(fmt::format("{} of {}", result.failed, result.runs));
    row.push_back(fmt::to_string(result.error_code));
    row.push_back(visible(result.error));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<std::string> warnings_of(const SeriesResult& series) {
  std::vector<std::string> warnings;
  std::vector<int> crowded;
  bool is_unsure = false;
  for (const PointResult& result : series.results) {
    const Point& point = series.points[result.point];
    if (point.oversubscribed && (crowded.empty() || crowded.back() != point.ranks))
      crowded.push_back(point.ranks);
    is_unsure = is_unsure || (result.tok_s.count > 0 && !result.is_mfu_sure);
  }
  if (!crowded.empty()) {
    warnings.push_back(fmt::format(
        "OVERSUBSCRIBED: at {} ranks (marked !) there are more ranks than cores or GPUs. Such points show "
        "that a layout runs; their speed, efficiency and fits say nothing of a machine that has a core or "
        "GPU for each rank.",
        fmt::join(crowded, ", ")));
  }
  if (is_unsure) {
    warnings.emplace_back(
        "MFU marked ? is unsure: the peak was measured beside other work, or other processes held up steps.");
  }
  if (series.missing > 0) warnings.push_back(fmt::format("{} runs have not been made.", series.missing));
  return warnings;
}

std::string law_text(ScaleMode mode) {
  return mode == ScaleMode::strong
             ? "Amdahl's law, strong scaling: 1 / tokens per second = T1 (s + (1 - s) / ranks)"
             : "Gustafson's law, weak scaling: tokens per second = X1 (s + (1 - s) ranks)";
}

std::string terminal_report(const SeriesResult& series, const SeriesFacts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{:<12} {}\n", name, visible(value));
  for (const std::string& warning : warnings_of(series)) text += fmt::format("\nWARNING: {}\n", warning);
  text += "\n" + aligned(speed_table(series));
  if (const TextTable shares = share_table(series); !shares.rows.empty())
    text += "\nwhere a step goes, in %\n" + aligned(shares);
  text += "\n" + law_text(series.mode) + "\n" + aligned(fit_table(series));
  if (const TextTable table = failure_table(series); !table.rows.empty()) text += "\n" + aligned(table);
  constexpr size_t kMostListed = 4;  // all of them were listed before the first run
  const TextTable left_out = left_out_table(series);
  if (left_out.rows.size() > kMostListed) {
    text += fmt::format("\n{} points were left out: scale.csv has the reasons\n", left_out.rows.size());
  } else if (!left_out.rows.empty()) {
    text += "\n" + aligned(left_out);
  }
  return text + "\n" + series.advice + "\n";
}

}  // namespace trireme::launch
