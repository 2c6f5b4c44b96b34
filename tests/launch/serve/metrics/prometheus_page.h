// A strict reader of Prometheus' text format 0.0.4.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace trireme::test {

struct PrometheusPage {
  using Labels = std::map<std::string, std::string>;
  struct Sample {
    std::string name;  ///< with _bucket, _sum, _count
    Labels labels;
    double value = 0;
  };

  std::map<std::string, std::string> types;
  std::vector<Sample> samples;

  /// The one sample of that name whose labels contain these.
  double value(const std::string& name, const Labels& labels = {}) const;
  bool has(const std::string& name) const;
  /// The values of label `le` of a histogram, in the page's order.
  std::vector<std::string> bounds(const std::string& name) const;
};

/// std::runtime_error naming the line for anything that the format does not allow: metrics without HELP and
/// TYPE, samples of others, doubled ones, bad escapes, buckets that do not add up.
PrometheusPage read_prometheus(const std::string& text);

}  // namespace trireme::test
