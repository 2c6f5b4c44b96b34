#include "parallel/optimizer/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme {

std::string_view to_string(LrScheduleKind kind) {
  constexpr std::string_view kNames[] = {"constant", "linear", "cosine", "wsd"};
  return kNames[static_cast<size_t>(kind)];
}

double LrSchedule::at(int64_t step) const {
  if (step < warmup) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
  if (kind == LrScheduleKind::constant) return lr;
  const double stable = kind == LrScheduleKind::wsd ? static_cast<double>(steps) * (1 - decay_fraction) : 0.0;
  const double begin = std::max(static_cast<double>(warmup), stable);
  const double length = std::max(1.0, static_cast<double>(steps) - begin);
  const double progress = std::clamp((static_cast<double>(step) - begin) / length, 0.0, 1.0);
  const double share =
      kind == LrScheduleKind::cosine ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : 1 - progress;
  return min_lr + share * (lr - min_lr);
}

}  // namespace trireme
