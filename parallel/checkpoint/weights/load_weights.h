// Loads initial weights from a file, in any layout.
#pragma once

#include <string>

#include "parallel/checkpoint/checkpointed_model.h"

namespace trireme {

/// Gives the model the weights, and the routers the balancing biases, of a file that save_weights() wrote
/// (f32, bf16 or f16), each rank its part. Routers of which the file has no biases begin with zeros, if they
/// have any.
///
/// `upcycle`: the file is of the dense model (arXiv 2212.05055). Every expert becomes a copy of the
/// feed-forward part in its place; routers keep the weights that they have.
///
/// Errors of SafetensorsReader; UserError (bad_input) with the tensors that are missing, of another shape, or
/// without a place in the model.
void load_weights(Context& ctx, const CheckpointedModel& model, const std::string& path, bool upcycle);

}  // namespace trireme
