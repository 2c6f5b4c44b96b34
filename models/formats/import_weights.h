// Weights of another program in this one's file.
#pragma once

#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// Writes model.safetensors as a run does, in f32 or bf16 (rounded to nearest even), one tensor after the
/// other. UserError (bad_input) of the source and of check_weights_fit(), and naming the tensor for a value
/// that is not finite; nothing is left then.
void import_weights(const WeightSource& source, const ModelConfig& config, DType dtype,
                    const std::string& file);

}  // namespace trireme
