// Layouts drawn at random from all strategies together.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/layout_run.h"

namespace trireme::test {

/// Degrees whose product is 2, 4 or 8, a schedule, a sharding of state, what is recomputed, experts, and a
/// batch.
LayoutRun draw_layout(uint64_t seed);

/// All that was drawn, in a line.
std::string text_of(const LayoutRun& run);

}  // namespace trireme::test
