// The waits of a group's calls in a window, in a bounded number of sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme::launch {

/// Call by call as long as there are few; then sums of neighbouring calls, of 2, 4, 8, ...: equal numbers of
/// calls are summed alike, so that ranks that made the same calls can compare them.
class WaitSeries {
 public:
  static constexpr size_t kMost = 4096;

  /// Another call; its index.
  int64_t add_call() {
    if (static_cast<size_t>(num_calls_ / stride_) == kMost) halve();
    if (static_cast<size_t>(num_calls_ / stride_) == sums_.size()) sums_.push_back(0);
    return num_calls_++;
  }
  /// That a call was waited for so long; one that is no call of this window counts with the first.
  void add_wait(int64_t index, double ms) {
    if (sums_.empty()) sums_.push_back(0);
    sums_[index < 0 ? 0 : static_cast<size_t>(index / stride_)] += ms;
  }

  int64_t num_calls() const { return num_calls_; }
  /// In milliseconds.
  const std::vector<double>& sums() const { return sums_; }

 private:
  void halve() {
    for (size_t i = 0; i < kMost / 2; ++i) sums_[i] = sums_[2 * i] + sums_[2 * i + 1];
    sums_.resize(kMost / 2);
    stride_ *= 2;
  }

  std::vector<double> sums_;
  int64_t num_calls_ = 0, stride_ = 1;
};

}  // namespace trireme::launch
