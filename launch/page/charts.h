// The charts of a page, as data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::launch {

/// The x values of some series, by what the reader may choose among: "step", "tokens", "hours". All choices
/// have as many values, ascending; charts have those choices that all of their axes have.
struct AxisChoice {
  std::string name;
  std::vector<double> values;
};
using ChartAxis = std::vector<AxisChoice>;

/// How values are written: 1234.5; 1.23k and 4.56M; 7.89 GiB; 12.3 % (of 0.123); 45.6 ms.
enum class Unit : uint8_t { plain, count, bytes, percent, ms };

enum class Style : uint8_t { line, dashed, points, faint };

/// Values that are not finite are gaps.
struct Series {
  std::string name;
  int axis = 0;                             ///< Page::add_axis
  std::vector<double> y;                    ///< one for each x
  std::vector<double> low = {}, high = {};  ///< a band around y; empty: none
  std::vector<double> count = {};           ///< how many values each stands for, for smoothing; empty: one
  Style style = Style::line;
  int color = -1;  ///< of the page's palette, 0 to 7; -1: the next one
};

/// Vertical lines with a word: events.
struct Marks {
  std::string name;
  int axis = 0;                    ///< where they are
  std::vector<std::string> texts;  ///< one for each x; shown when the reader points there
  int color = 6;
};

struct LineChart {
  std::string title;
  Unit unit = Unit::plain;
  std::vector<Series> series;
  std::vector<Marks> marks = {};
  bool is_stacked = false;   ///< areas, from the bottom up in the order of the series, which share an axis
  bool is_smoothed = false;  ///< follows the page's slider
  bool is_log_y = false, is_log_x = false;
  bool has_log_switch = false;  ///< the reader can make y logarithmic
  bool from_zero = false;
  bool is_wide = false;  ///< the whole width of the page
  std::string note = {};
};

/// Horizontal bars, a row each, made of parts; a table of the numbers is folded below.
struct BarChart {
  std::string title;
  Unit unit = Unit::plain;
  std::vector<std::string> parts;  ///< the legend, in the order of colours
  std::vector<std::string> rows;
  std::vector<std::vector<double>> values;  ///< by row, then part; not negative
  bool is_share = false;                    ///< each row fills the width; else the longest does
  bool is_wide = false;
  std::string note = {};
};

/// Values as colours, from dark (least) to light.
struct HeatMap {
  std::string title;
  Unit unit = Unit::plain;
  int axis = 0;  ///< of the columns
  std::vector<std::string> rows;
  std::vector<double> values;    ///< row by row, one for each x of the axis; not finite: blank
  std::string row_name = "row";  ///< "rank", "expert"
  bool is_wide = false;
  std::string note = {};
};

/// What several actors did when: a Gantt chart.
struct GanttSpan {
  int row = 0;
  int kind = 0;                  ///< index of GanttChart::kinds
  double begin = 0, length = 0;  ///< ms
  std::string text = {};
};
struct GanttChart {
  std::string title;
  std::vector<std::string> rows, kinds;
  std::vector<GanttSpan> spans;
  std::string note = {};
};

}  // namespace trireme::launch
