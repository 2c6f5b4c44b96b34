#include "launch/serve/metrics/prometheus_text.h"

#include <cmath>
#include <iterator>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

/// "\\", "\n" and, within quotes, "\"" as the format wants them.
void append_escaped_label(std::string& out, std::string_view text, bool is_quoted) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && is_quoted) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

std::string bound_text(double bound) {
  if (std::isinf(bound)) return "+Inf";
  if (bound >= 1e6) return fmt::format("{:g}", bound);
  std::string text = fmt::format("{}", bound);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void PrometheusText::metric(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} ", name);
  append_escaped_label(text_, help, false);
  fmt::format_to(std::back_inserter(text_), "\n# TYPE {} {}\n", name, type);
}

void PrometheusText::sample(const Labels& labels, double value) { line("", labels, value); }

void PrometheusText::sample(const Labels& labels, const Histogram& histogram, double largest_bound) {
  Labels of_bucket = labels;
  of_bucket.emplace_back("le", "");
  int64_t below = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    below += histogram.counts()[i];
    const bool is_last = i == histogram.bounds().size();
    if (!is_last && histogram.bounds()[i] > largest_bound) continue;
    of_bucket.back().second = is_last ? "+Inf" : bound_text(histogram.bounds()[i]);
    line("_bucket", of_bucket, static_cast<double>(below));
  }
  line("_sum", labels, histogram.sum());
  line("_count", labels, static_cast<double>(below));
}

void PrometheusText::line(std::string_view suffix, const Labels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [label, text] : labels) {
    text_ += separator;
    text_ += label;
    text_ += "=\"";
    append_escaped_label(text_, text, true);
    text_ += '"';
    separator = ',';
  }
  if (!labels.empty()) text_ += '}';
  text_ += ' ';
  text_ += value_text(value);
  text_ += '\n';
}

}  // namespace trireme::launch
