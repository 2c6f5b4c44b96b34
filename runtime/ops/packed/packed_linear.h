// Products with packed weights: forward alone. Each row of the result has the same bits whatever the other
// rows are and however many there are.
//
// With w of unpack_row() and x as it is multiplied (Activations), sums of I inputs are off, but for the
// rounding to y's type, by at most (u = 2^-24; Higham, Accuracy and Stability of Numerical Algorithms,
// section 3.1)
//   CPU, exact              (I + 2) u sum |x| |w|
//   CPU, int8 and int8_rows (I / 16 + 8) u sum |x| |w|
//   CUDA                    4 (I + 16) u sum |x| |w|
// where of formats with minima (q4_1, q4_k) |w| stands for scale * code + |minimum|, but for CPU, exact.
#pragma once

#include <span>

#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops {

/// What integer weights are multiplied with.
enum class Activations : uint8_t {
  exact,  ///< x as it is: weights become fp32 numbers, sums are fp32
  int8,   ///< x in blocks of 32 inputs with a scale each (largest magnitude / 127), sums within a block exact
  int8_rows,  ///< the same with one scale for a row of x (SmoothQuant's per token, arXiv 2211.10438)
};

/// y[N,O] = x[N,I] · w[O,I]^T + bias[O] of one matrix. x: a compute type; y: that type or f32; bias f32 or
/// absent. Weights of f32, bf16, f16 and fp8 are multiplied exactly whatever `activations` says: with x of
/// the same type the bits of the first three are those of ops::linear. A sparse weight gives the bits of the
/// dense one of its values, but for bf16 on processors with AMX: there x and weights are widened to fp32.
/// Sparse int8 is made for quantized activations; by exact ones it is slower than dense. On a CUDA device
/// nothing depends on `activations`: integers are multiplied exactly always; and the bits are not those of
/// ops::linear, whose library sums in an order of its own for each number of rows.
void packed_linear(Context& ctx, const Tensor& x, const PackedWeight& w, Activations activations,
                   const Tensor& bias, const Columns& y);
TRIREME_OP_BODIES(packed_linear, Context& ctx, const Tensor& x, const PackedWeight& w,
                  Activations activations, const Tensor& bias, const Columns& y)

/// out[n, j] = x[n, order[j]]: what products do first where a weight has an order of inputs. order: i32, a
/// permutation.
void order_columns(Context& ctx, const Tensor& x, const Tensor& order, const Tensor& out);
TRIREME_OP_BODIES(order_columns, Context& ctx, const Tensor& x, const Tensor& order, const Tensor& out)

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
