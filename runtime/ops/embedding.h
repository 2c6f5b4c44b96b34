// Token and position embedding.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// out[N,C] = tokens_table[ids] (+ position_table[positions]). ids, positions: [N] i32; tables of out's
/// compute type; positions and position_table absent together. Ids must be in range: the data reader has
/// checked them.
void embedding(Context& ctx, const Tensor& ids, const Tensor& token_table, const Tensor& positions,
               const Tensor& position_table, const Tensor& out);
TRIREME_OP_BODIES(embedding, Context& ctx, const Tensor& ids, const Tensor& token_table,
                  const Tensor& positions, const Tensor& position_table, const Tensor& out)

/// dtable[ids[n]] += dout[n] for every n, in the order of n. dtable f32, dout compute type. Serves both
/// tables.
void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dout, const Tensor& dtable);
TRIREME_OP_BODIES(embedding_backward, Context& ctx, const Tensor& ids, const Tensor& dout,
                  const Tensor& dtable)

}  // namespace trireme::ops
