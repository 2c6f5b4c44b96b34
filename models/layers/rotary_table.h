// The table of RoPE angles.
#pragma once

#include "models/spec/model_spec.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// [positions, dims] f32: row p holds a cos(p * f_i) for i < dims / 2 and then a sin(p * f_i), with the f_i
/// of rotary_frequencies() and a = rotary_attention_factor() (models/spec/rotary_frequencies.h). `positions`
/// is the longest sequence. Computed in double.
Tensor rotary_table(Context& ctx, const RotarySpec& spec, int64_t positions);

}  // namespace trireme
