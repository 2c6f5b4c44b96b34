// Memory as it is predicted and as the allocators of a run measure it.
#pragma once

#include "models/cost/memory_estimate.h"
#include "tests/support/layout_run.h"

namespace trireme::test {

struct MemoryComparison {
  MemoryEstimate predicted;
  MemoryEstimate measured;  ///< the largest peak of any rank, category by category
};

/// A run of two steps in its layout, on threads, with experts whose load is even, or the worst that can be.
MemoryComparison compare_memory(LayoutRun run, ExpertLoad load = ExpertLoad::even);

/// A layout of draw_layout() with a model large enough for the allocator's rounding not to matter, which has
/// experts or none; widths, k, heads and precision are drawn too.
LayoutRun draw_memory_layout(uint64_t seed, bool with_experts);

/// Fails the test unless every category of such a run is within 10 % of its prediction, or 64 KiB; buffers
/// may have 1.5 MiB a thread more, which the library that multiplies matrices takes for itself.
void expect_memory_as_predicted(const LayoutRun& run);

}  // namespace trireme::test
