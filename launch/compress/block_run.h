// quantize_model() over the blocks of a step, which outlive an interruption.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/compress/block_files.h"
#include "launch/compress/compression.h"

namespace trireme::launch {

/// The blocks of step `index` that an earlier attempt finished, which is said; makes their directory. All
/// ranks call it.
FinishedBlocks begin_blocks(Compression& c, size_t index);

/// Carries `plan` out on `model`, whose weights are `source`'s, and which is then what the blocks' files
/// have. Ends at a block with `resumable` after a signal.
std::vector<MatrixOutcome> run_blocks(Compression& c, size_t index, InferenceModel& model,
                                      const std::shared_ptr<const WeightSource>& source,
                                      const FinishedBlocks& finished, QuantizationPlan plan,
                                      bool needs_samples);

/// What the blocks have over the rest of `source`. On any rank, when they are done.
std::shared_ptr<const WeightSource> with_blocks(const Compression& c, size_t index,
                                                std::shared_ptr<const WeightSource> source);

}  // namespace trireme::launch
