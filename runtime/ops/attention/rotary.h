// Rotary position embedding (Su et al., arXiv 2104.09864) in the half-split form of Llama: element i of a
// head is paired with element i + D/2.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// Rotates `heads` (count = num_heads * head_dim columns of a [N, *] compute-type matrix) in place.
/// positions: [N] i32; table: [max_positions, R] f32, R even and at most head_dim, row p holding the R/2
/// cosines and then the R/2 sines of position p. Of each head the first R elements are rotated (in the
/// half-split form with D = R) and the others left alone (partial rotary embedding, as in GPT-NeoX, Black et
/// al., arXiv 2204.06745). `inverse` turns back: the gradient of the rotation.
void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse);
TRIREME_OP_BODIES(rotary, Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
                  const Tensor& table, bool inverse)

}  // namespace trireme::ops
