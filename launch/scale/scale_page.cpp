#include "launch/scale/scale_page.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <sstream>

#include <fmt/format.h>

#include "launch/page/page.h"

namespace trireme::launch {

namespace {

constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

std::string point_name(const Point& point) {
  const std::string line = point.line();
  return fmt::format("{} rank{}{}{}", point.ranks, point.ranks == 1 ? "" : "s",
                     point.oversubscribed ? "!" : "", line.empty() ? "" : ", " + line);
}

/// "12", "1,397 (1,396..1,398)", "710 KiB", "-".
bool looks_like_number(const std::string& cell) {
  const bool begins =
      cell.empty() || cell[0] == '-' || std::isdigit(static_cast<unsigned char>(cell[0])) != 0;
  return begins && std::ranges::count(cell, ' ') < 2;
}

Table page_table(const TextTable& text, std::string caption = "") {
  Table table{{}, text.rows, std::move(caption)};
  for (size_t i = 0; i < text.columns.size(); ++i) {
    const bool is_number =
        std::ranges::all_of(text.rows, [&](const auto& row) { return looks_like_number(row[i]); });
    table.columns.push_back({text.columns[i], is_number});
  }
  return table;
}

std::vector<double> rank_counts(const SeriesResult& series) {
  std::vector<double> counts;
  for (const PointResult& result : series.results) counts.push_back(series.points[result.point].ranks);
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());  // they ascend
  return counts;
}

class ScalePage {
 public:
  ScalePage(const SeriesResult& series, const SeriesFacts& facts)
      : series_(series),
        facts_(facts),
        counts_(rank_counts(series)),
        page_("Scaling", series.mode == ScaleMode::weak ? "Weak scaling: the batch of a rank is constant"
                                                        : "Strong scaling: the global batch is constant") {}

  std::string html() {
    page_.heading("Result");
    for (const std::string& warning : warnings_of(series_)) page_.paragraph(warning);
    std::istringstream sentences(series_.advice);
    for (std::string sentence; std::getline(sentences, sentence);) page_.paragraph(sentence);
    page_.table(page_table(speed_table(series_)));
    add_lines();
    add_shares();
    add_memory();
    page_.heading("Serial fraction");
    page_.paragraph(law_text(series_.mode));
    page_.table(page_table(fit_table(series_)));
    add_if_any("Failed runs", failure_table(series_));
    add_if_any("Left out", left_out_table(series_));
    page_.heading("How it was measured");
    Table made{{{"what"}, {"how"}}, {}};
    for (const auto& [name, value] : facts_) made.rows.push_back({name, value});
    page_.table(made);
    return page_.html();
  }

 private:
  void add_if_any(std::string_view heading, const TextTable& table) {
    if (table.rows.empty()) return;
    page_.heading(heading);
    page_.table(page_table(table));
  }

  /// One value for each measured point of a line, and their rank counts.
  template <class Value>
  std::vector<double> along(const std::string& line, Value value) const {
    std::vector<double> values;
    for (const PointResult& result : series_.results) {
      const Point& point = series_.points[result.point];
      if (point.line() == line && result.tok_s.count > 0) values.push_back(value(result));
    }
    return values;
  }
  std::vector<double> counts_along(const std::string& line) const {
    return along(line, [&](const PointResult& result) { return series_.points[result.point].ranks; });
  }

  /// Where throughput would be if it grew with the ranks from the baseline on, of each group.
  void add_ideal(LineChart& chart, int axis) const {
    std::vector<size_t> shown;
    for (const PointResult& result : series_.results) {
      if (!result.efficiency || std::ranges::find(shown, result.baseline) != shown.end()) continue;
      shown.push_back(result.baseline);
      const auto base = std::ranges::find(series_.results, result.baseline, &PointResult::point);
      const Point& point = series_.points[result.baseline];
      std::vector<double> ideal;
      for (const double ranks : counts_) ideal.push_back(base->tok_s.median * ranks / point.ranks);
      const std::string group = point.group();
      chart.series.push_back({fmt::format("ideal{}{}", group.empty() ? "" : ", ", group),
                              axis,
                              ideal,
                              {},
                              {},
                              {},
                              Style::dashed});
    }
  }

  void add_lines() {
    if (series_.lines.empty()) return;
    page_.heading("Throughput and efficiency");
    LineChart rate{"Tokens per second", Unit::count, {}};
    rate.from_zero = true;
    rate.note = "Medians; the band is from the least to the most of the repeats.";
    LineChart efficiency{"Efficiency against the baseline", Unit::percent, {}};
    efficiency.from_zero = true;
    for (const LineResult& line : series_.lines) {
      const std::string name = line.line.empty() ? "measured" : line.line;
      const std::vector<double> counts = counts_along(line.line);
      if (counts.empty()) continue;
      const int axis = page_.add_axis("ranks", counts);
      rate.series.push_back({name, axis,
                             along(line.line, [](const PointResult& r) { return r.tok_s.median; }),
                             along(line.line, [](const PointResult& r) { return r.tok_s.least; }),
                             along(line.line, [](const PointResult& r) { return r.tok_s.most; })});
      efficiency.series.push_back(
          {name, axis, along(line.line, [](const PointResult& r) { return r.efficiency.value_or(kGap); })});
    }
    if (rate.series.empty()) {
      page_.note("Nothing was measured.");
      return;
    }
    add_ideal(rate, page_.add_axis("ranks", counts_));
    page_.lines(rate);
    page_.lines(efficiency);
  }

  void add_shares() {
    page_.heading("Where a step goes");
    const TextTable table = share_table(series_);
    if (table.rows.empty()) {
      page_.note("The runs' metrics.jsonl have no breakdown of steps.");
      return;
    }
    BarChart chart{"Shares of a step", Unit::percent, {}, {}, {}};
    chart.is_share = chart.is_wide = true;
    chart.note =
        "compute is what the baseline computes for the same tokens, slower compute what a point needs beyond "
        "that; all parts are means over ranks, steps and repeats.";
    const std::vector<std::string> keys = shown_parts(series_);
    for (const std::string& key : keys) chart.parts.push_back(part_name(key));
    for (const PointResult& result : series_.results) {
      if (result.shares.empty()) continue;
      chart.rows.push_back(point_name(series_.points[result.point]));
      chart.values.emplace_back();
      for (const std::string& key : keys) {
        const auto part = std::ranges::find(result.shares, key, &PartShare::key);
        chart.values.back().push_back(part == result.shares.end() ? 0 : std::max(0.0, part->share));
      }
    }
    page_.bars(chart);
    page_.table(page_table(table, "Per cent of a step"));
  }

  void add_memory() {
    BarChart chart{"Peak memory of a rank", Unit::bytes, {"bytes"}, {}, {}};
    const auto add = [&](const PointResult& result, const char* what, int64_t bytes) {
      if (bytes == 0) return;
      chart.rows.push_back(fmt::format("{}: {}", point_name(series_.points[result.point]), what));
      chart.values.push_back({static_cast<double>(bytes)});
    };
    for (const PointResult& result : series_.results) {
      add(result, "predicted", result.predicted_bytes);
      add(result, "measured", result.measured_bytes);
    }
    if (chart.rows.empty()) return;
    page_.heading("Memory");
    chart.is_wide = true;
    page_.bars(chart);
  }

  const SeriesResult& series_;
  const SeriesFacts& facts_;
  std::vector<double> counts_;
  Page page_;
};

}  // namespace

std::string html_report(const SeriesResult& series, const SeriesFacts& facts) {
  return ScalePage(series, facts).html();
}

}  // namespace trireme::launch
