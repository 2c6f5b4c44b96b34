// Page: a self-contained HTML document with tables and charts that opens anywhere, without network.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/page/charts.h"

namespace trireme::launch {

struct Figure {
  std::string label, value, note = {};
};

struct Column {
  std::string name;
  bool is_number = false;  ///< right-aligned, with digits of equal width
  bool is_short = false;   ///< never broken into lines
};

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  ///< of as many cells
  std::string caption = {};
  bool is_folded = false;  ///< shown when its caption is clicked, and in print
  bool is_long = false;    ///< scrolls in itself on a screen
};

/// A document is built from top to bottom; charts that follow each other stand side by side where there is
/// room. Every text may hold anything: it is escaped, and bytes that are no UTF-8 are shown as such. Equal
/// calls make equal bytes. It draws with dygraphs and a script of its own, both inside; nothing is loaded.
class Page {
 public:
  explicit Page(std::string title, std::string subtitle = "");

  /// Begins a section; headings are linked at the top.
  void heading(std::string_view text);
  void subheading(std::string_view text);
  void paragraph(std::string_view text);
  /// A line in small grey type: what is absent, or how something was thinned.
  void note(std::string_view text);
  /// A row of figures, each with a label and perhaps a note.
  void facts(const std::vector<Figure>& facts);
  void table(const Table& table);
  /// Text as it is, spaces and line ends kept: a sample, a configuration.
  void text_block(std::string_view title, std::string_view text);

  /// The number by which series refer to it.
  int add_axis(ChartAxis axis);
  /// An axis with one choice.
  int add_axis(std::string name, std::vector<double> values);
  void lines(const LineChart& chart);
  void bars(const BarChart& chart);
  void heat_map(const HeatMap& map);
  void timeline(const GanttChart& timeline);

  /// Where the slider for smoothing stands at first (0 to 0.999: the weight of what came before; there is a
  /// slider where a chart can be smoothed).
  void set_smoothing(double weight) { smoothing_ = weight; }

  std::string html() const;

 private:
  void open_charts(bool are);  // or closes them
  /// Opens a figure, with `inside` behind its title; its id.
  std::string add_chart(std::string_view title, bool is_wide, std::string_view inside);

  std::string title_, subtitle_, body_, links_;
  std::string axes_, charts_;  ///< JSON, each with a comma before it
  std::vector<size_t> axis_sizes_;
  int num_sections_ = 0, num_charts_ = 0;
  bool are_charts_open_ = false;
  double smoothing_ = 0;
};

}  // namespace trireme::launch
