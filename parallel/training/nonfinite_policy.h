// What is done about non-finite values: choices of a run.
#pragma once

#include <cstdint>

namespace trireme {

/// How a non-finite value is traced to where it came up. off: not at all. step: a step whose loss or norm is
/// not finite is run again with a look at every tensor between layers, which costs nothing elsewhere. op:
/// every step is looked at while it runs.
enum class NonFiniteCheck : uint8_t { off, step, op };

/// skip: the step is left out, within the bounds of LossScaleConfig. stop: the run ends.
enum class NonFinitePolicy : uint8_t { skip, stop };

}  // namespace trireme
