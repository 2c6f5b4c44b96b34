// Thins long series so that nothing they reached is lost: each point becomes the mean of some, with their
// range.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace trireme::launch {

/// How many neighbours make one point where `n` values are to become `most` at most.
size_t values_per_point(size_t n, size_t most);

struct Band {
  std::vector<double> mean;       ///< of the finite values of each point; NaN where there is none
  std::vector<double> low, high;  ///< the least and the largest; empty where each point is one value
  std::vector<double> count;      ///< of finite values; empty likewise
};

/// Points of `per_point` values in succession; the last may have fewer.
Band thin(std::span<const double> values, size_t per_point);

/// The last value of each point: where it stands on an axis.
std::vector<double> ends_of_points(std::span<const double> values, size_t per_point);

}  // namespace trireme::launch
