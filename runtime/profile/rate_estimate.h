// What a piece of work takes on a machine that may be busy with other things.
#pragma once

#include <algorithm>

namespace trireme::ops {

/// One run of the work, in seconds.
struct RateSample {
  double wall = 0;
  double busy = 0;  ///< processor time of the thread that had most; on a device the wall time
};

struct RateRules {
  int least_runs = 20;         ///< that a measurement takes, and half of
  double least_seconds = 0.3;  ///< this time; or all of it, with fewer;
  double most_seconds = 2;     ///< and so long while it is not sure;
  double most_flops = 1e30;  ///< but no more arithmetic than that, beyond a few runs and a third of the time
  int agreeing = 3;          ///< runs that must have been undisturbed, and alike
  double disturbed = 1.1;    ///< wall time over processor time of a run that was
};

/// Fed with runs of equal work. Wall time proves what the machine reaches, but beside other processes every
/// run may have lost some time slices; processor time leaves those out, but nobody has seen the machine reach
/// it. Where a few runs took hardly longer than the least processor time, both say the same, and that is
/// sure.
class RateEstimate {
 public:
  /// Of work of `flops` a run.
  explicit RateEstimate(const RateRules& rules = {}, double flops = 1)
      : rules_(rules), most_runs_(std::max<double>(kFewRuns, rules.most_flops / flops)) {}

  void add(const RateSample& sample) {
    ++runs_;
    wall_ += sample.wall;
    busy_ += std::min(sample.busy, sample.wall);
    least_busy_ = std::min(least_busy_, std::min(sample.busy, sample.wall));
    // The shortest in order: the last of them says how many were as short.
    double wall = sample.wall;
    for (double& kept : shortest_) {
      if (wall < kept) std::swap(wall, kept);
    }
  }

  bool is_sure() const { return shortest_[agreeing() - 1] <= rules_.disturbed * least_busy_; }
  bool is_enough() const {
    if (runs_ == 0) return false;
    if (wall_ >= rules_.most_seconds) return true;
    if (runs_ >= most_runs_ && wall_ >= rules_.least_seconds / 3) return true;
    if (wall_ < rules_.least_seconds / (runs_ >= rules_.least_runs ? 2 : 1)) return false;
    return is_sure();
  }

  int runs() const { return runs_; }
  double elapsed() const { return wall_; }
  /// Of a run on the machine when it is quiet: seen where that is sure, else what processor time says.
  double seconds() const { return is_sure() ? shortest_[0] : least_busy_; }
  /// The part of the time (0 to 1) in which the threads had a core.
  double share() const { return wall_ > 0 ? busy_ / wall_ : 1; }

 private:
  static constexpr int kMostAgreeing = 8;
  static constexpr double kFewRuns = 8;  // the first prepares much
  int agreeing() const { return std::clamp(rules_.agreeing, 1, kMostAgreeing); }

  RateRules rules_;
  double most_runs_;
  int runs_ = 0;
  double wall_ = 0, busy_ = 0;
  double least_busy_ = 1e30;
  double shortest_[kMostAgreeing] = {1e30, 1e30, 1e30, 1e30, 1e30, 1e30, 1e30, 1e30};
};

}  // namespace trireme::ops
