#include "launch/scale/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::launch {

double Spread::relative() const { return count < 2 || !(median > 0) ? 0 : (most - least) / 2 / median; }

Spread spread_of(std::span<const double> values) {
  std::vector<double> finite;
  std::ranges::copy_if(values, std::back_inserter(finite), [](double v) { return std::isfinite(v); });
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (finite.empty()) return {kNone, kNone, kNone, 0};
  std::ranges::sort(finite);
  const size_t half = finite.size() / 2;
  const double median = finite.size() % 2 == 1 ? finite[half] : (finite[half - 1] + finite[half]) / 2;
  return {median, finite.front(), finite.back(), static_cast<int>(finite.size())};
}

std::optional<LineFit> fit_line(std::span<const LinePoint> points) {
  double n = 0, weight = 0, x_sum = 0, y_sum = 0;
  const auto counts = [](const LinePoint& p) {
    return std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.weight) && p.weight > 0;
  };
  for (const LinePoint& p : points) {
    if (!counts(p)) continue;
    n += 1;
    weight += p.weight;
    x_sum += p.weight * p.x;
    y_sum += p.weight * p.y;
  }
  if (n < 3) return std::nullopt;
  const double x_mean = x_sum / weight, y_mean = y_sum / weight;
  double xx = 0, xy = 0, yy = 0;
  for (const LinePoint& p : points) {
    if (!counts(p)) continue;
    xx += p.weight * (p.x - x_mean) * (p.x - x_mean);
    xy += p.weight * (p.x - x_mean) * (p.y - y_mean);
    yy += p.weight * (p.y - y_mean) * (p.y - y_mean);
  }
  if (!(xx > 1e-12 * weight * std::max(1.0, x_mean * x_mean))) return std::nullopt;
  LineFit fit;
  fit.b = xy / xx;
  fit.a = y_mean - fit.b * x_mean;
  double residuals = 0;
  for (const LinePoint& p : points) {
    if (counts(p)) residuals += p.weight * std::pow(p.y - fit.a - fit.b * p.x, 2);
  }
  const double scale = residuals / (n - 2);
  fit.var_b = scale / xx;
  fit.var_a = scale * (1 / weight + x_mean * x_mean / xx);
  fit.cov_ab = -scale * x_mean / xx;
  const double level = weight * y_mean * y_mean;
  fit.r2 = yy > 1e-24 * level ? 1 - residuals / yy : 1;
  return fit;
}

}  // namespace trireme::launch
