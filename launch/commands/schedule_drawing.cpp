#include "launch/commands/schedule_drawing.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

using Span = Timeline::Span;

/// The most columns a text or pixels an SVG may take for its time: one tiny cost does not blow up the rest.
constexpr double kMostColumns = 1 << 17, kMostPixels = 1 << 16;

double shortest_span(const Timeline& timeline) {
  double shortest = timeline.makespan;
  for (const auto& spans : timeline.spans_of_stage) {
    for (const Span& span : spans) {
      if (span.end > span.start) shortest = std::min(shortest, span.end - span.start);
    }
  }
  return shortest;
}

size_t longest_label(const Timeline& timeline) {
  size_t longest = 0;
  for (const auto& spans : timeline.spans_of_stage) {
    for (const Span& span : spans) longest = std::max(longest, to_string(span.action).size());
  }
  return longest;
}

/// "F3 " or "B3---- ": a label, dashes for as long as it lasts, a blank where there is room.
std::string text_row(const std::vector<Span>& spans, size_t columns, double scale) {
  std::string row(columns, ' ');
  for (const Span& span : spans) {
    const auto begin = static_cast<size_t>(std::lround(span.start * scale));
    const auto end = std::min(columns, static_cast<size_t>(std::lround(span.end * scale)));
    if (end <= begin) continue;
    std::string cell = to_string(span.action);
    cell.resize(std::max<size_t>(1, end - begin - 1), '-');
    row.replace(begin, cell.size(), cell);
  }
  return row;
}

std::string title_text(const Timeline& timeline) {
  return fmt::format("bubble {:.1f} % of {:g} time units", 100 * timeline.bubble, timeline.makespan);
}

// SVG -------------------------------------------------------------------------------------------------------

constexpr double kLeft = 76, kRight = 190, kTop = 84, kRow = 30, kBar = 24;

struct Color {
  int red, green, blue;
};
constexpr Color kForward{138, 182, 240}, kBackward{245, 185, 113}, kWeight{147, 211, 162},
    kBubble{238, 238, 238};

/// Later chunks are lighter.
std::string color_text(Color color, int chunk, int num_chunks) {
  const double white = num_chunks > 1 ? 0.6 * chunk / (num_chunks - 1) : 0;
  const auto mix = [&](int value) { return static_cast<int>(value + (255 - value) * white); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(color.red), mix(color.green), mix(color.blue));
}

Color color_of(ActionKind kind) {
  if (kind == ActionKind::forward) return kForward;
  return kind == ActionKind::backward_weight ? kWeight : kBackward;
}

std::string svg_rect(double x, double y, double width, double height, const std::string& fill) {
  return fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"", x, y,
                     width, height, fill);
}

std::string svg_text(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, text);
}

std::string svg_span(const Span& span, double y, double scale, int num_chunks) {
  const double x = kLeft + span.start * scale, width = (span.end - span.start) * scale;
  const std::string label = to_string(span.action);
  std::string out =
      svg_rect(x, y, width, kBar, color_text(color_of(span.action.kind), span.action.chunk, num_chunks));
  out +=
      fmt::format(" stroke=\"#fff\"><title>{}: {:g} to {:g}</title></rect>\n", label, span.start, span.end);
  if (width >= 7.0 * static_cast<double>(label.size()))
    out += svg_text(x + width / 2, y + 16, "middle", label);
  return out;
}

std::string svg_legend(const Schedule& schedule, bool has_weight) {
  std::vector<std::pair<Color, std::string>> entries = {{kForward, "forward"}};
  entries.emplace_back(kBackward, has_weight ? "backward, input part" : "backward");
  if (has_weight) entries.emplace_back(kWeight, "backward, weight part");
  entries.emplace_back(kBubble, "bubble");
  std::string out;
  double x = kLeft;
  for (const auto& [color, name] : entries) {
    out += svg_rect(x, 48, 14, 14, color_text(color, 0, 1)) + "/>\n" + svg_text(x + 20, 60, "start", name);
    x += 46 + 6.5 * static_cast<double>(name.size());
  }
  if (schedule.num_chunks > 1) out += svg_text(x, 60, "start", "lighter: later chunks");
  return out;
}

/// A tick about every 80 pixels, at 1, 2 or 5 times a power of ten.
std::string svg_axis(double makespan, double scale, double y) {
  const double power = std::pow(10, std::floor(std::log10(80 / scale)));
  const double ratio = 80 / scale / power, step = power * (ratio < 1.5   ? 1
                                                           : ratio < 3.5 ? 2
                                                           : ratio < 7.5 ? 5
                                                                         : 10);
  std::string out;
  for (int i = 0; i * step <= makespan * (1 + 1e-9); ++i) {
    const double x = kLeft + i * step * scale;
    out +=
        svg_rect(x, y, 1, 5, "#888") + "/>\n" + svg_text(x, y + 18, "middle", fmt::format("{:g}", i * step));
  }
  return out;
}

}  // namespace

std::string title_of(const Schedule& s) {
  const auto count = [](int n, const char* name) {
    return fmt::format("{} {}{}", n, name, n == 1 ? "" : "s");
  };
  std::string title = fmt::format(
      "{}: {}, {}", to_string(s.kind), count(s.num_stages, "stage"),
      s.num_micro_batches == 1 ? "1 micro-batch" : fmt::format("{} micro-batches", s.num_micro_batches));
  if (s.num_chunks > 1) title += fmt::format(", {} per stage", count(s.num_chunks, "chunk"));
  return title;
}

std::string timeline_text(const Schedule& schedule, const Timeline& timeline) {
  constexpr size_t kBand = 108;
  const size_t cell = longest_label(timeline) + 1;
  const double scale =
      std::min(static_cast<double>(cell) / shortest_span(timeline), kMostColumns / timeline.makespan);
  const auto columns = static_cast<size_t>(std::ceil(timeline.makespan * scale - 1e-6));
  const size_t band = kBand / cell * cell;
  const size_t name_width = 7 + fmt::to_string(schedule.num_stages - 1).size();
  std::vector<std::string> rows;
  for (const auto& spans : timeline.spans_of_stage) rows.push_back(text_row(spans, columns, scale));
  std::string out;
  for (size_t begin = 0; begin < columns; begin += band) {
    if (columns > band)
      out += fmt::format("{}from time {:g}\n", begin > 0 ? "\n" : "", static_cast<double>(begin) / scale);
    for (size_t stage = 0; stage < rows.size(); ++stage) {
      std::string line =
          fmt::format("{:{}}", fmt::format("stage {}", stage), name_width) + rows[stage].substr(begin, band);
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
  }
  return out;
}

std::string timeline_svg(const Schedule& schedule, const Timeline& timeline) {
  const double label = 7.0 * static_cast<double>(longest_label(timeline)) + 4;
  const double scale = std::min(std::max(label / shortest_span(timeline), 640 / timeline.makespan),
                                kMostPixels / timeline.makespan);
  const double length = timeline.makespan * scale, width = kLeft + length + kRight;
  const double bottom = kTop + kRow * schedule.num_stages, height = bottom + 34;
  std::string rows;
  bool has_weight = false;
  for (size_t stage = 0; stage < timeline.spans_of_stage.size(); ++stage) {
    const double y = kTop + kRow * static_cast<double>(stage);
    rows += svg_text(kLeft - 10, y + 16, "end", fmt::format("stage {}", stage));
    rows += svg_rect(kLeft, y, length, kBar, color_text(kBubble, 0, 1)) + "/>\n";
    for (const Span& span : timeline.spans_of_stage[stage]) {
      rows += svg_span(span, y, scale, schedule.num_chunks);
      has_weight = has_weight || span.action.kind == ActionKind::backward_weight;
    }
    rows += svg_text(kLeft + length + 10, y + 16, "start",
                     fmt::format("bubble {:.1f} %, peak {}", 100 * timeline.bubble_of_stage[stage],
                                 timeline.peak_activations_of_stage[stage]));
  }
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
             "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#1a1a1a\">\n",
             width, height) +
         svg_rect(0, 0, width, height, "#fff") + "/>\n" +
         fmt::format("<text x=\"{}\" y=\"30\" font-size=\"16\">{} ({})</text>\n", kLeft, title_of(schedule),
                     title_text(timeline)) +
         svg_legend(schedule, has_weight) + rows + svg_axis(timeline.makespan, scale, bottom) + "</svg>\n";
}

}  // namespace trireme::launch
