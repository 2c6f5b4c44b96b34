// Stragglers: ranks that compute longer than the others of their stage, and hold everybody up.
#pragma once

#include <span>
#include <vector>

namespace trireme::launch {

struct SlowRank {
  int rank = -1;
  double ratio = 1;     ///< of its computing time to the median of its stage
  int num_windows = 0;  ///< in succession that ratio was beyond Stragglers::kRatio
  bool is_straggler() const;
};

/// The judgement. Stages of a pipeline have different work by design, so a rank is compared with those of its
/// own; the median is the lower one of an even number, so that of two ranks the slower has more than 1.
class Stragglers {
 public:
  static constexpr double kRatio = 1.3;
  static constexpr int kWindows = 5;

  /// The stage of each rank.
  explicit Stragglers(std::vector<int> stages);

  /// The computing time of each rank in the next window (of any length); the rank with the largest ratio.
  SlowRank add(std::span<const double> seconds);
  /// Those whose kWindows-th window in succession it was.
  const std::vector<SlowRank>& new_ones() const { return new_ones_; }
  /// By the time of all windows.
  SlowRank overall() const;
  int stage_of(int rank) const { return stages_[static_cast<size_t>(rank)]; }

 private:
  std::vector<double> ratios(std::span<const double> seconds) const;

  std::vector<int> stages_;
  std::vector<double> totals_;
  std::vector<int> num_windows_;
  std::vector<SlowRank> new_ones_;
};

}  // namespace trireme::launch
