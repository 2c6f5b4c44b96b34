#include "launch/compare/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <boost/math/distributions/students_t.hpp>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

double sum_of(std::span<const double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }

double mean(std::span<const double> values) { return sum_of(values) / static_cast<double>(values.size()); }

/// With n - 1.
double variance(std::span<const double> values) {
  const double center = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - center) * (value - center);
  return sum / static_cast<double>(values.size() - 1);
}

/// Of neighbours, of values whose mean is `center`; 0 where they do not differ.
double correlation(std::span<const double> values, double center) {
  double product = 0, square = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    square += (values[i] - center) * (values[i] - center);
    if (i > 0) product += (values[i - 1] - center) * (values[i] - center);
  }
  return square > 0 ? product / square : 0;
}

}  // namespace

std::vector<double> block_means(std::span<const double> series) {
  const size_t num = std::min(kBlocks, series.size());
  std::vector<double> means;
  for (size_t i = 0; i < num; ++i) {
    const size_t begin = i * series.size() / num, end = (i + 1) * series.size() / num;
    means.push_back(mean(series.subspan(begin, end - begin)));
  }
  return means;
}

std::optional<Estimate> robust_mean(std::span<const double> series) {
  if (series.size() < kFewestBlocks) return std::nullopt;
  const std::vector<double> blocks = block_means(series);
  std::vector<double> sorted = blocks;
  std::ranges::sort(sorted);
  const size_t n = sorted.size(), cut = n / 5, kept = n - 2 * cut;
  const double value = mean(std::span(sorted).subspan(cut, kept));
  std::vector<double> winsorized = blocks;
  for (double& block : winsorized) block = std::clamp(block, sorted[cut], sorted[n - 1 - cut]);
  const auto size = static_cast<double>(n);
  double error = std::sqrt(variance(winsorized) * size) / static_cast<double>(kept);
  // Of a series whose neighbours are correlated by r the mean of n has the variance of n (1 - r) / (1 + r);
  // r itself is known within about 1 / sqrt(n), and seems too small by about 1 / n.
  const double r = std::clamp(correlation(winsorized, mean(winsorized)) + 1 / size, 0.0, 0.8);
  error *= std::sqrt((1 + r) / (1 - r));
  return Estimate{value, error, static_cast<double>(kept - 1)};
}

Estimate mean_of(std::span<const double> values) {
  TRIREME_CHECK(values.size() >= 2, "the spread of {} numbers", values.size());
  const auto size = static_cast<double>(values.size());
  return {mean(values), std::sqrt(variance(values) / size), size - 1};
}

Estimate difference(const Estimate& a, const Estimate& b) {
  const double of_a = a.error * a.error, of_b = b.error * b.error, both = of_a + of_b;
  Estimate out{b.value - a.value, std::sqrt(both), std::min(a.df, b.df)};
  if (both > 0) out.df = both * both / (of_a * of_a / a.df + of_b * of_b / b.df);
  return out;
}

Interval interval_of(const Estimate& estimate, double level) {
  const double value = estimate.value;
  if (!(estimate.error > 0)) return {value, value, value, value == 0 ? 1.0 : 0.0};
  const boost::math::students_t t(std::min(estimate.df, 1e6));
  const double width = boost::math::quantile(t, 0.5 + level / 2) * estimate.error;
  const double p = 2 * boost::math::cdf(boost::math::complement(t, std::abs(value) / estimate.error));
  return {value, value - width, value + width, p};
}

}  // namespace trireme::launch
