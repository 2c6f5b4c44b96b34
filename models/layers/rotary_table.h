// The angles of the rotary embedding.
#pragma once

#include "models/config/model_config.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// [positions, head_dim] f32: row p holds cos(p * f_i) for i < head_dim / 2 and then sin(p * f_i), f_i =
/// theta^(-2i / head_dim) (arXiv 2104.09864, eq. 15), with low frequencies divided as Llama 3.1 does where
/// the config asks for it. Computed in double.
Tensor rotary_table(Context& ctx, const ModelConfig& config, int64_t positions);

}  // namespace trireme
