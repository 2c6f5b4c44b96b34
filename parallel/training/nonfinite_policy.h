// Options for NaN and Inf.
#pragma once

#include <cstdint>

namespace trireme {

/// How the first non-finite value is located. off: not at all. step: a step whose loss or norm is not finite
/// is run again with checks between layers; other steps cost nothing. op: every step checks the tensors
/// between layers while it runs.
enum class NonFiniteCheck : uint8_t { off, step, op };

/// skip: skip the update, within the limits of LossScaleConfig. stop: end the run.
enum class NonFinitePolicy : uint8_t { skip, stop };

}  // namespace trireme
