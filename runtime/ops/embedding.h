// Token and position embedding.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// out[N,C] = row ids[n] of the token table (+ position_table[positions]). ids, positions: [N] i32; tables of
/// out's compute type; positions and position_table absent together. token_table holds `part` of the table;
/// ids of other rows stand for zeros. Ids must be below part.total, positions in range: the data reader has
/// checked them.
void embedding(Context& ctx, const Tensor& ids, const Tensor& token_table, const TablePart& part,
               const Tensor& positions, const Tensor& position_table, const Tensor& out);
TRIREME_OP_BODIES(embedding, Context& ctx, const Tensor& ids, const Tensor& token_table,
                  const TablePart& part, const Tensor& positions, const Tensor& position_table,
                  const Tensor& out)

/// dtable[ids[n] - part.first] += dout[n] for every n whose row dtable holds, in the order of n. dtable f32,
/// dout compute type. Serves both tables.
void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dout, const TablePart& part,
                        const Tensor& dtable);
TRIREME_OP_BODIES(embedding_backward, Context& ctx, const Tensor& ids, const Tensor& dout,
                  const TablePart& part, const Tensor& dtable)

}  // namespace trireme::ops
