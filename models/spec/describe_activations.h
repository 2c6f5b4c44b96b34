// Memory allocated and freed by the passes of a model's layers, call by call, from the description alone.
#pragma once

#include "models/spec/memory_trace.h"
#include "models/spec/rank_sizes.h"

namespace trireme {

LayerTraces describe_embedding(const ModelSpec& model, const LayerConditions& conditions);

/// `recomputed`: as a whole, from its input (parallel/module/recompute.h).
LayerTraces describe_block(const ModelSpec& model, const BlockSpec& block, const LayerConditions& conditions,
                           bool recomputed);

LayerTraces describe_head(const ModelSpec& model, const LayerConditions& conditions);

/// What goes from one virtual stage to the next.
int64_t boundary_bytes(const ModelSpec& model, const LayerConditions& conditions);

}  // namespace trireme
