// Layouts drawn at random from all strategies together.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/layout_run.h"

namespace trireme::test {

/// Degrees whose product is 2, 4 or 8, a schedule, a sharding of state, what is recomputed, experts, and a
/// batch.
LayoutRun draw_layout(uint64_t seed);

/// Has the layers of a drawn run share weights, in groups of a number that fits and is drawn too.
void draw_sharing(uint64_t seed, LayoutRun& run);

/// All that was drawn, in a line.
std::string text_of(const LayoutRun& run);

}  // namespace trireme::test
