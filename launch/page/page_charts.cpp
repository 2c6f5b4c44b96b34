// The charts of a page: a figure in the document, and what the page's script draws in it as JSON.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "launch/page/escape.h"
#include "launch/page/page.h"
#include "launch/page/table_html.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int kAxisDigits = 12;  // counts of tokens

const char* unit_name(Unit unit) {
  constexpr const char* kNames[] = {"plain", "count", "bytes", "percent", "ms"};
  return kNames[static_cast<size_t>(unit)];
}

const char* style_name(Style style) {
  constexpr const char* kNames[] = {"line", "dashed", "points", "faint"};
  return kNames[static_cast<size_t>(style)];
}

/// Of the palette of page.css; beyond its end lighter.
std::string css_color(size_t index) {
  if (index < 8) return fmt::format("var(--c{})", index);
  return fmt::format("color-mix(in srgb, var(--c{}) 50%, var(--paper))", index % 8);
}

std::string number_text(double value, Unit unit) {
  if (!std::isfinite(value)) return "";
  if (unit == Unit::percent) return fmt::format("{:.1f} %", 100 * value);
  if (unit == Unit::ms) return fmt::format("{:.4g} ms", value);
  if (unit == Unit::bytes) return fmt::format("{:.4g} MiB", value / (1 << 20));
  return fmt::format("{:.5g}", value);
}

std::string series_json(const Series& series) {
  std::string json =
      fmt::format("{{\"name\":{},\"axis\":{},\"color\":{},\"style\":\"{}\",\"y\":{}", json_text(series.name),
                  series.axis, series.color, style_name(series.style), json_numbers(series.y));
  if (!series.low.empty()) {
    TRIREME_CHECK(series.low.size() == series.y.size() && series.high.size() == series.y.size());
    json += fmt::format(",\"low\":{},\"high\":{}", json_numbers(series.low), json_numbers(series.high));
  }
  if (!series.count.empty()) json += fmt::format(",\"count\":{}", json_numbers(series.count));
  return json + "}";
}

std::string note_html(const std::string& note) {
  return note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>\n", html_text(note));
}

}  // namespace

int Page::add_axis(ChartAxis axis) {
  TRIREME_CHECK(!axis.empty());
  std::string json;
  for (const AxisChoice& choice : axis) {
    TRIREME_CHECK(choice.values.size() == axis.front().values.size(), "{} has {} values, {} {}", choice.name,
                  choice.values.size(), axis.front().name, axis.front().values.size());
    json += fmt::format(",[{},{}]", json_text(choice.name), json_numbers(choice.values, kAxisDigits));
  }
  axes_ += fmt::format(",[{}]", json.substr(1));
  axis_sizes_.push_back(axis.front().values.size());
  return static_cast<int>(axis_sizes_.size()) - 1;
}

int Page::add_axis(std::string name, std::vector<double> values) {
  return add_axis(ChartAxis{{std::move(name), std::move(values)}});
}

std::string Page::add_chart(std::string_view title, bool is_wide, std::string_view inside) {
  open_charts(true);
  const std::string id = fmt::format("chart-{}", ++num_charts_);
  body_ += fmt::format("<figure class=\"chart{}\" id=\"{}\"><figcaption><span>{}</span>{}</figcaption>\n",
                       is_wide ? " wide" : "", id, html_text(title), inside);
  return id;
}

void Page::lines(const LineChart& chart) {
  TRIREME_CHECK(!chart.series.empty());
  const std::string id =
      add_chart(chart.title, chart.is_wide,
                chart.has_log_switch ? fmt::format("<button type=\"button\" class=\"switch\" "
                                                   "aria-pressed=\"{}\">log</button>",
                                                   chart.is_log_y)
                                     : "");
  body_ += fmt::format("<div class=\"plot\"></div>\n{}</figure>\n", note_html(chart.note));
  std::string series, marks;
  for (const Series& of : chart.series) {
    TRIREME_CHECK(of.y.size() == axis_sizes_.at(static_cast<size_t>(of.axis)), "{}: {} values at {} places",
                  of.name, of.y.size(), axis_sizes_[static_cast<size_t>(of.axis)]);
    series += "," + series_json(of);
  }
  for (const Marks& of : chart.marks) {
    TRIREME_CHECK(of.texts.size() == axis_sizes_.at(static_cast<size_t>(of.axis)));
    marks += fmt::format(",{{\"name\":{},\"axis\":{},\"color\":{},\"texts\":{}}}", json_text(of.name),
                         of.axis, of.color, json_texts(of.texts));
  }
  charts_ += fmt::format(
      ",{{\"kind\":\"lines\",\"id\":\"{}\",\"title\":{},\"unit\":\"{}\",\"stacked\":{},\"smoothed\":{},"
      "\"log_y\":{},\"log_x\":{},\"from_zero\":{},\"series\":[{}],\"marks\":[{}]}}",
      id, json_text(chart.title), unit_name(chart.unit), chart.is_stacked, chart.is_smoothed, chart.is_log_y,
      chart.is_log_x, chart.from_zero, series.substr(1), marks.empty() ? "" : marks.substr(1));
}

void Page::bars(const BarChart& chart) {
  add_chart(chart.title, chart.is_wide, "");
  body_ += "<div class=\"legend\">";
  for (size_t i = 0; i < chart.parts.size(); ++i)
    body_ += fmt::format(
        "<span class=\"key\"><i class=\"area\" style=\"background:{}\"></i><span>{}</span></span>",
        css_color(i), html_text(chart.parts[i]));
  body_ += "</div>\n<div class=\"bars\">\n";
  Table numbers{{{""}}, {}, "Numbers", true};
  for (const std::string& part : chart.parts) numbers.columns.push_back({part, true});
  std::vector<double> sums;
  for (const auto& row : chart.values) {
    TRIREME_CHECK(row.size() == chart.parts.size());
    double sum = 0;
    for (const double value : row) sum += std::isfinite(value) ? std::max(0.0, value) : 0;
    sums.push_back(sum);
  }
  TRIREME_CHECK(sums.size() == chart.rows.size());
  const double longest = sums.empty() ? 0 : *std::ranges::max_element(sums);
  for (size_t r = 0; r < sums.size(); ++r) {
    const double whole = chart.is_share ? sums[r] : longest;
    body_ +=
        fmt::format("<div><span class=\"row-name\">{}</span><span class=\"bar\">", html_text(chart.rows[r]));
    numbers.rows.push_back({chart.rows[r]});
    for (size_t i = 0; i < chart.parts.size(); ++i) {
      const double value = chart.values[r][i];
      numbers.rows.back().push_back(number_text(value, chart.unit));
      if (!(value > 0) || !std::isfinite(value)) continue;
      body_ += fmt::format("<span style=\"width:{:.3f}%;background:{}\" title=\"{}: {}\"></span>",
                           100 * value / whole, css_color(i), html_text(chart.parts[i]),
                           number_text(value, chart.unit));
    }
    body_ += fmt::format("</span><span class=\"total\">{}</span></div>\n", number_text(sums[r], chart.unit));
  }
  body_ += "</div>\n" + table_html(numbers) + note_html(chart.note) + "</figure>\n";
}

void Page::heat_map(const HeatMap& map) {
  const size_t columns = axis_sizes_.at(static_cast<size_t>(map.axis));
  TRIREME_CHECK(columns > 0 && map.values.size() == columns * map.rows.size(), "{} values in {} x {}",
                map.values.size(), map.rows.size(), columns);
  const std::string id = add_chart(map.title, map.is_wide, "");
  body_ += fmt::format("<div class=\"plot\"></div>\n{}</figure>\n", note_html(map.note));
  charts_ += fmt::format(
      ",{{\"kind\":\"heat_map\",\"id\":\"{}\",\"title\":{},\"unit\":\"{}\",\"axis\":{},\"rows\":{},"
      "\"values\":{}}}",
      id, json_text(map.title), unit_name(map.unit), map.axis, json_texts(map.rows),
      json_numbers(map.values, 4));
}

void Page::timeline(const GanttChart& timeline) {
  TRIREME_CHECK(!timeline.spans.empty());
  const std::string id = add_chart(timeline.title, true, "");
  body_ += fmt::format("<div class=\"plot\"></div>\n{}</figure>\n", note_html(timeline.note));
  std::vector<double> rows, kinds, begins, lengths;
  std::vector<std::string> texts;
  for (const GanttSpan& span : timeline.spans) {
    TRIREME_CHECK(span.row >= 0 && static_cast<size_t>(span.row) < timeline.rows.size());
    TRIREME_CHECK(span.kind >= 0 && static_cast<size_t>(span.kind) < timeline.kinds.size());
    rows.push_back(span.row);
    kinds.push_back(span.kind);
    begins.push_back(span.begin);
    lengths.push_back(span.length);
    texts.push_back(span.text);
  }
  charts_ += fmt::format(
      ",{{\"kind\":\"timeline\",\"id\":\"{}\",\"title\":{},\"rows\":{},\"kinds\":{},\"spans\":[{},{},{},{}],"
      "\"texts\":{}}}",
      id, json_text(timeline.title), json_texts(timeline.rows), json_texts(timeline.kinds),
      json_numbers(rows), json_numbers(kinds), json_numbers(begins), json_numbers(lengths),
      json_texts(texts));
}

}  // namespace trireme::launch
