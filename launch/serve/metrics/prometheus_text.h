// PrometheusText: a page in Prometheus' text format, version 0.0.4.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/serve/metrics/histogram.h"

namespace trireme::launch {

class PrometheusText {
 public:
  using Labels = std::vector<std::pair<std::string_view, std::string>>;

  /// Begins a metric: "counter", "gauge" or "histogram"; its samples follow.
  void metric(std::string_view name, std::string_view type, std::string_view help);
  /// A sample of the metric that was begun last; values of labels may be any bytes.
  void sample(const Labels& labels, double value);
  /// All samples of a histogram. Bounds beyond `largest_bound` are left out.
  void sample(const Labels& labels, const Histogram& histogram,
              double largest_bound = std::numeric_limits<double>::infinity());

  const std::string& text() const { return text_; }

 private:
  void line(std::string_view suffix, const Labels& labels, double value);

  std::string name_;
  std::string text_;
};

/// As Python's client writes a bound, which vLLM uses: "0.001", "1.0", "2e+06", "+Inf".
std::string bound_text(double bound);

}  // namespace trireme::launch
