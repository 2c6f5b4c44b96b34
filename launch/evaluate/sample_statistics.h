// Means of samples, and how far they are known.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trireme::launch {

struct SampleMean {
  double mean = 0;
  double error = 0;  ///< standard error: sqrt(sample variance / number); NaN for fewer than two numbers
};

/// NaN of nothing. Numbers count as independent of one another.
SampleMean sample_mean(std::span<const float> values);

/// The values at shares of [0, 1] of them, from the smallest to the largest, by linear interpolation; NaN of
/// nothing.
std::vector<double> quantiles_of(std::vector<float> values, std::span<const double> shares);

}  // namespace trireme::launch
