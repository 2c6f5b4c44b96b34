// Passes over a row of logits on the host, in lanes: their order of summation is fixed.
#pragma once

#include <cstdint>
#include <span>

namespace trireme::ops::cpu {

struct LargestLogit {
  int64_t index = 0;  ///< of the first of equals
  float value = 0;
  bool is_sound = true;  ///< no NaN, no +infinity, and one is finite
};

/// `logits` is not empty.
LargestLogit largest_logit(std::span<const float> logits);

/// maxima[i]: the largest of the logits [32 i, 32 i + 32), in the last block of those there are. There is no
/// NaN.
inline constexpr int64_t kMaximaBlock = 32;
void block_maxima(std::span<const float> logits, std::span<float> maxima);

/// The sum of exp((logit - largest) * factor), in double.
double sum_of_exps(std::span<const float> logits, float largest, double factor = 1);

/// weights[i] = exp((logits[i] - largest) * factor), with about 2 ulp of double.
void exps_of(std::span<const float> logits, float largest, double factor, std::span<double> weights);

}  // namespace trireme::ops::cpu
