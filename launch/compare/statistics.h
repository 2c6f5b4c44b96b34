// Means of series that are autocorrelated and have outliers, and whether two of them differ.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace trireme::launch {

/// An estimate, and how far it may be off.
struct Estimate {
  double value = 0;
  double error = 0;  ///< standard error
  double df = 0;     ///< degrees of freedom of that
};

/// The means of kBlocks successive parts of a series, of equal length but for one; of as many as it has
/// numbers, where those are fewer. What lies within a block may be correlated, and an outlier touches one
/// block.
std::vector<double> block_means(std::span<const double> series);
constexpr size_t kBlocks = 20;

/// The mean of a series: that of its block means without the lowest and the highest fifth, and the error of
/// it by the Winsorized variance (Tukey and McLaughlin, Sankhya A 25, 1963), made larger where neighbouring
/// blocks are still correlated. Nothing for fewer than kFewestBlocks numbers.
std::optional<Estimate> robust_mean(std::span<const double> series);
constexpr size_t kFewestBlocks = 5;

/// The mean of several numbers, and the error by how they spread; two or more.
Estimate mean_of(std::span<const double> values);

/// b - a, of independent estimates: degrees of freedom by Welch and Satterthwaite.
Estimate difference(const Estimate& a, const Estimate& b);

/// An estimate with its confidence interval, and how likely a value so far from 0 is where there is none.
struct Interval {
  double value = 0, low = 0, high = 0;
  double p = 1;  ///< of a two-sided t-test
};
/// `level` as 0.95. With an error of 0 the interval is the value, and p is 0 or 1.
Interval interval_of(const Estimate& estimate, double level);

}  // namespace trireme::launch
