// How long a rank may make no progress before it counts as hung.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/comm/record/call_site.h"

namespace trireme::watch {

/// Seconds by phase; 0: no limit.
struct HangLimits {
  std::array<double, kNumPhases> seconds = {1800, 600, 600, 600, 600, 600, 1800, 1800, 600, 600, 600};

  static HangLimits all(double limit);
  bool is_on() const;
  /// Of a rank in `phase`. The first step of a process warms everything up, and may take as long as setup
  /// where that is longer.
  double of(Phase phase, bool is_first_step) const;

  friend bool operator==(const HangLimits&, const HangLimits&) = default;
};

/// "600" for all phases, "setup=1800,step=300,save=900" for some, or "600,save=900" for all but some: a phase
/// by its name (setup, data, forward, backward, reduction, update, evaluation, save, sample, teardown,
/// teacher), or step: data to update at once. What is not named keeps its default. Nothing where the text is
/// something else; numbers go up to 1e6.
std::optional<HangLimits> parse_hang_limits(std::string_view text);
/// Text that parse_hang_limits() reads as the same limits.
std::string to_string(const HangLimits& limits);

}  // namespace trireme::watch
