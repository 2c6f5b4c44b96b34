// The interface between a Transformer and parallel/checkpoint.
#pragma once

#include "models/transformer/transformer.h"
#include "parallel/checkpoint/checkpointed_model.h"

namespace trireme {

/// `model` outlives it.
CheckpointedModel checkpointed(Transformer& model);

}  // namespace trireme
