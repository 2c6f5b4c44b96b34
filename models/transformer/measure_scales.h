// Learned scales of quantization begin as what the weights need.
#pragma once

#include "parallel/module/model_part.h"
#include "runtime/device/context.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme {

/// Gives learned scales (Parameter::is_scale) those that ops::quantize_row() measures of their weights as
/// they are: of all matrices, or of those that have none yet. All ranks call it alike. UserError (bad_input)
/// naming the matrix for a weight that is not finite.
void measure_scales(Context& ctx, ModelPart& part, const ops::PackedSpec& spec, bool all);

}  // namespace trireme
