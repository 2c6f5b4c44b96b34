// Learning rate as a function of the step.
#pragma once

#include <cstdint>
#include <string_view>

namespace trireme {

/// wsd: warm-up, stable, decay (Hu et al., arXiv 2404.06395).
enum class LrScheduleKind : uint8_t { constant, linear, cosine, wsd };
std::string_view to_string(LrScheduleKind kind);

struct LrSchedule {
  LrScheduleKind kind = LrScheduleKind::cosine;
  double lr = 0;                ///< the rate after warm-up
  double min_lr = 0;            ///< the rate of step `steps`, one after the last (constant: unused)
  int64_t warmup = 0;           ///< steps of linear warm-up: step s of it has lr * (s + 1) / (warmup + 1)
  int64_t steps = 1;            ///< steps of the whole run
  double decay_fraction = 0.1;  ///< wsd: share of the steps, at the end, that decays linearly

  /// The rate of step `step`, counted from 0. From `steps` on: min_lr (constant: lr).
  double at(int64_t step) const;
};

}  // namespace trireme
