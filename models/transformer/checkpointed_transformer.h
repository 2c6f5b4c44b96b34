// A Transformer as parallel/checkpoint loads and saves it.
#pragma once

#include "models/transformer/transformer.h"
#include "parallel/checkpoint/checkpointed_model.h"

namespace trireme {

/// `model` outlives it.
CheckpointedModel checkpointed(Transformer& model);

}  // namespace trireme
