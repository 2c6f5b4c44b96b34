// Z-score: how far a number is from the previous ones.
#pragma once

#include <cstdint>
#include <optional>

namespace trireme::launch {

/// Mean and variance of what was pushed, forgotten with a time constant of kMemory numbers.
class ZScore {
 public:
  static constexpr double kMemory = 50;
  static constexpr int64_t kWarmUp = 20;  ///< numbers before the first score

  /// (x - mean) / standard deviation with respect to the numbers before x, then counts x in. Nothing for the
  /// first kWarmUp numbers, where those before were all equal, and for a number that is not finite, which is
  /// not counted either.
  std::optional<double> push(double x);

  /// What a run that continues begins with.
  struct State {
    int64_t count = 0;
    double mean = 0, variance = 0;
  };
  State state() const { return {count_, mean_, variance_}; }
  void restore(const State& state) {
    count_ = state.count;
    mean_ = state.mean;
    variance_ = state.variance;
  }

 private:
  int64_t count_ = 0;
  double mean_ = 0, variance_ = 0;
};

}  // namespace trireme::launch
