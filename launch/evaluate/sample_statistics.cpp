#include "launch/evaluate/sample_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::launch {

namespace {
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
}

SampleMean sample_mean(std::span<const float> values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {kNaN, kNaN};
  double sum = 0, squares = 0;
  for (const float value : values) sum += double{value};
  const double mean = sum / n;
  for (const float value : values) squares += (double{value} - mean) * (double{value} - mean);
  return {mean, values.size() < 2 ? kNaN : std::sqrt(squares / (n - 1) / n)};
}

std::vector<double> quantiles_of(std::vector<float> values, std::span<const double> shares) {
  std::ranges::sort(values);
  std::vector<double> quantiles;
  for (const double share : shares) {
    if (values.empty()) {
      quantiles.push_back(kNaN);
      continue;
    }
    const double at = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(at), above = std::min(below + 1, values.size() - 1);
    const double part = at - static_cast<double>(below);
    quantiles.push_back((1 - part) * double{values[below]} + part * double{values[above]});
  }
  return quantiles;
}

}  // namespace trireme::launch
