// Loss scaling: keeps gradients within the range of fp16.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

/// All factors are powers of two, so that scaling rounds nothing.
struct LossScaleConfig {
  static constexpr double kDynamicStart = 65536;

  bool dynamic = false;            ///< else `start` forever
  double start = 1;                ///< initial scale
  int64_t growth_interval = 2000;  ///< steps without overflow before the scale grows
  double growth = 2;
  double backoff = 0.5;     ///< factor applied after an overflow
  double floor = 1;         ///< minimum scale: an overflow there ends the run
  int64_t most_skips = 20;  ///< skipped steps in a row that end a run

  friend bool operator==(const LossScaleConfig&, const LossScaleConfig&) = default;
};

/// State that a resumed run needs.
struct LossScalerState {
  double scale = 1;
  int64_t clean_steps = 0;     ///< without overflow since the scale changed
  int64_t skips_in_a_row = 0;  ///< up to now
  int64_t skips = 0;           ///< since the start of training

  friend bool operator==(const LossScalerState&, const LossScalerState&) = default;
};

/// The loss is multiplied by scale() before the backward pass and gradients are divided by it where they are
/// divided by the number of tokens. A step with a non-finite loss or gradient norm is skipped; a dynamic
/// scale then shrinks, and grows after enough clean steps (Micikevicius et al., arXiv 1710.03740, section 4).
/// Computed from values that all ranks have, so it is the same on all.
class LossScaler {
 public:
  /// The largest scale: a scale that never overflows must not overflow itself.
  static constexpr double kLargest = 0x1p64;

  explicit LossScaler(const LossScaleConfig& config) : config_(config), state_{.scale = config.start} {}

  double scale() const { return state_.scale; }
  /// Counts a step and sets the scale of the next one. `finite`: the step was carried out; else skipped.
  /// Returns why the run must stop (too many skips in a row, or an overflow at the floor), or "".
  std::string count(bool finite);

  const LossScalerState& state() const { return state_; }
  void restore(const LossScalerState& state) { state_ = state; }

 private:
  LossScaleConfig config_;
  LossScalerState state_;
};

}  // namespace trireme
