#include "parallel/optimizer/loss_scaler.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme {

std::string LossScaler::count(bool finite) {
  if (finite) {
    state_.skips_in_a_row = 0;
    ++state_.clean_steps;
    if (config_.dynamic && state_.clean_steps >= config_.growth_interval) {
      state_.scale = std::min(state_.scale * config_.growth, kLargest);
      state_.clean_steps = 0;
    }
    return "";
  }
  ++state_.skips;
  ++state_.skips_in_a_row;
  state_.clean_steps = 0;
  const double before = state_.scale;
  if (config_.dynamic) state_.scale = std::max(before * config_.backoff, config_.floor);
  if (config_.dynamic && before <= config_.floor) {
    return fmt::format("gradients still overflow at the minimum loss scale {}", before);
  }
  if (state_.skips_in_a_row >= config_.most_skips) {
    return fmt::format("{} steps in a row were skipped, the last at loss scale {}", state_.skips_in_a_row,
                       before);
  }
  return "";
}

}  // namespace trireme
