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
/// Layers that use the weights of any earlier ones with the same parts, but not in turn; of six layers.
void draw_sharing_pattern(uint64_t seed, LayoutRun& run);

/// Gives the model of a drawn run kinds of blocks that no family of draw_layout() has: norms behind the parts
/// alone, parts side by side, QK norm over whole projections, the exact GELU, biases of some layers.
void draw_block_kinds(uint64_t seed, LayoutRun& run);

/// Gives the model of a drawn run exits, and its training losses for them, dropout of layers, or both.
void draw_exits(uint64_t seed, LayoutRun& run);

/// Gives it convolutions in the place of attention, in all blocks or some, or (odd seeds) blocks that are
/// narrow inside, some of which are convolutions; and documents that see themselves alone, or not.
void draw_edge_blocks(uint64_t seed, LayoutRun& run);

/// All that was drawn, in a line.
std::string text_of(const LayoutRun& run);

}  // namespace trireme::test
