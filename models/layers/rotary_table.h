// The table of RoPE angles.
#pragma once

#include "models/spec/model_spec.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// [positions, dims] f32: row p holds cos(p * f_i) for i < dims / 2 and then sin(p * f_i), f_i = theta^(-2i /
/// dims) (arXiv 2104.09864, eq. 15), with low frequencies divided as Llama 3.1 does where
/// the spec asks for it. Computed in double.
Tensor rotary_table(Context& ctx, const RotarySpec& spec, int64_t positions);

}  // namespace trireme
