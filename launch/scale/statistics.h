// Medians, and a weighted line through points.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace trireme::launch {

/// Of the finite values; NaN where there are none.
struct Spread {
  double median, least, most;
  int count;
  /// Half the way from the least to the most, as a share of the median; 0 of fewer than two.
  double relative() const;
};
Spread spread_of(std::span<const double> values);

struct LinePoint {
  double x = 0, y = 0;
  double weight = 1;
};

/// y = a + b x by weighted least squares, with the covariance of a and b from the residuals.
struct LineFit {
  double a = 0, b = 0;
  double var_a = 0, var_b = 0, cov_ab = 0;
  /// 1 - (weighted squares of residuals) / (weighted squares of y around its mean); 1 where y does not vary
  /// and is met.
  double r2 = 0;
};
/// Nothing for fewer than three points, or fewer than two values of x. Points that are not finite, or have no
/// weight, count as missing.
std::optional<LineFit> fit_line(std::span<const LinePoint> points);

}  // namespace trireme::launch
