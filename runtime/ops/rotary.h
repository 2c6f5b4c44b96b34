// Rotary position embedding (Su et al., arXiv 2104.09864) in the half-split form of Llama: element i of a
// head is paired with element i + D/2.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// Rotates `heads` (count = num_heads * head_dim columns of a [N, *] compute-type matrix) in place.
/// positions: [N] i32; table: [max_positions, head_dim] f32, row p holding the D/2 cosines and then the D/2
/// sines of position p. `inverse` turns back: the gradient of the rotation.
void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse);
TRIREME_OP_BODIES(rotary, Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
                  const Tensor& table, bool inverse)

}  // namespace trireme::ops
