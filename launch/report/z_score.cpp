#include "launch/report/z_score.h"

#include <algorithm>
#include <cmath>

namespace trireme::launch {

std::optional<double> ZScore::push(double x) {
  if (!std::isfinite(x)) return std::nullopt;
  std::optional<double> score;
  if (count_ >= kWarmUp && variance_ > 0) score = (x - mean_) / std::sqrt(variance_);
  ++count_;
  // A plain mean at first, so that the first number has no greater weight than the others.
  const double weight = std::max(1 / kMemory, 1 / static_cast<double>(count_));
  const double difference = x - mean_;
  mean_ += weight * difference;
  variance_ = (1 - weight) * (variance_ + weight * difference * difference);
  return score;
}

}  // namespace trireme::launch
