// Histogram: how many values of each range there were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace trireme::launch {

class Histogram {
 public:
  /// The upper bounds of ranges, ascending, bounds themselves included; beyond the last is one more. They
  /// outlive it.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(double value) {
    // Most values of a server lie in the first ranges.
    size_t range = 0;
    while (range < bounds_.size() && value > bounds_[range]) ++range;
    ++counts_[range];
    sum_ += value;
  }

  std::span<const double> bounds() const { return bounds_; }
  /// One for each bound, and one for what is beyond.
  std::span<const int64_t> counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

}  // namespace trireme::launch
