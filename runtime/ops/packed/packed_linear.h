// Products with packed weights: forward alone. Each row of the result has the same bits whatever the other
// rows are and however many there are.
#pragma once

#include <span>

#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops {

/// What integer weights are multiplied with.
enum class Activations : uint8_t {
  exact,  ///< x as it is: weights become fp32 numbers, sums are fp32
  int8,   ///< x in blocks of 32 inputs with a scale each (largest magnitude / 127), sums within a block exact
};

/// y[N,O] = x[N,I] · w[O,I]^T + bias[O] of one matrix. x: a compute type; y: that type or f32; bias f32 or
/// absent. Weights of f32, bf16 and f16 are multiplied exactly whatever `activations` says: with x of the
/// same type the bits are those of ops::linear. On a CUDA device nothing depends on `activations`: integers
/// are multiplied exactly always; and the bits are not those of ops::linear, whose library sums in an order
/// of its own for each number of rows.
void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, Activations activations,
                   const Tensor& bias, const Columns& y);
TRIREME_OP_BODIES(packed_linear, Context& ctx, const Tensor& x, const PackedWeight& w,
                  Activations activations, const Tensor& bias, const Columns& y)

/// grouped_linear (ops/gemm/grouped_gemm.h) with w.matrices matrices: y[R,O] from x[R,I], the first counts[0]
/// rows by the first matrix.
void packed_grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                           const PackedWeight& w, Activations activations, const Tensor& y);
TRIREME_OP_BODIES(packed_grouped_linear, Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                  const PackedWeight& w, Activations activations, const Tensor& y)

/// ops::embedding with a packed token table; position_table as there.
void packed_embedding(Context& ctx, const Tensor& ids, const PackedWeight& table, const TablePart& part,
                      const Tensor& positions, const Tensor& position_table, const Tensor& out);
TRIREME_OP_BODIES(packed_embedding, Context& ctx, const Tensor& ids, const PackedWeight& table,
                  const TablePart& part, const Tensor& positions, const Tensor& position_table,
                  const Tensor& out)

}  // namespace trireme::ops
