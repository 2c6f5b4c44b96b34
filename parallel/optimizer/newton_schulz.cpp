#include "parallel/optimizer/newton_schulz.h"

#include <algorithm>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/training/muon.h"

namespace trireme {

namespace {

constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// factor * x, with memory of its own.
Tensor scaled(Context& ctx, const Tensor& x, float factor) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype(), MemoryCategory::buffers);
  ops::copy(ctx, x, y);
  ops::scale(ctx, y, factor);
  return y;
}

}  // namespace

Tensor orthogonalized(Context& ctx, const Tensor& x, DType dtype, int num_steps) {
  const bool is_tall = x.dim(0) > x.dim(1);
  const int64_t least = std::min(x.dim(0), x.dim(1));
  const Tensor squares = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, squares, 0);
  ops::add_sum_of_squares(ctx, x, squares);
  Tensor result = Tensor::empty(ctx, x.shape(), dtype, MemoryCategory::buffers);
  ops::muon_normalize(ctx, x, squares, result);
  const Tensor gram = Tensor::empty(ctx, {least, least}, dtype, MemoryCategory::buffers);
  for (int step = 0; step < num_steps; ++step) {
    ops::gemm(ctx, {.transpose_a = is_tall, .transpose_b = !is_tall}, result, result, {}, gram);
    const Tensor polynomial = scaled(ctx, gram, kB);
    ops::gemm(ctx, {.accumulate = true, .alpha = kC}, gram, gram, {}, polynomial);
    const Tensor next = scaled(ctx, result, kA);
    ops::gemm(ctx, {.accumulate = true}, is_tall ? result : polynomial, is_tall ? polynomial : result, {},
              next);
    result = next;
  }
  return result;
}

double newton_schulz_flops(int64_t rows, int64_t columns, int num_steps) {
  const auto least = static_cast<double>(std::min(rows, columns)),
             most = static_cast<double>(std::max(rows, columns));
  return num_steps * (4 * least * least * most + 2 * least * least * least);
}

}  // namespace trireme
