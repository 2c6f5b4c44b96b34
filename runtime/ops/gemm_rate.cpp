#include "runtime/ops/gemm_rate.h"

#include <algorithm>
#include <chrono>

#include "runtime/ops/gemm.h"

namespace trireme::ops {

double measure_gemm_rate(Context& ctx, DType dtype) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kSize = 1024;
  constexpr double kFlops = 2.0 * kSize * kSize * kSize;
  const auto matrix = [&](int64_t rows, int64_t columns) {
    return Tensor::empty(ctx, {rows, columns}, dtype, MemoryCategory::buffers);
  };
  const Tensor a = matrix(kSize, kSize), b = matrix(kSize, kSize), c = matrix(kSize, kSize);
  // Empty products are zero: numbers on which the arithmetic has its usual speed.
  for (const Tensor& t : {a, b}) gemm(ctx, {}, matrix(kSize, 0), matrix(0, kSize), {}, t);

  double best = 0, elapsed = 0;
  for (int run = 0; run < 100 && (run < 3 || elapsed < 0.15); ++run) {
    ctx.stream().synchronize();
    const auto start = Clock::now();
    gemm(ctx, {.transpose_b = true}, a, b, {}, c);
    ctx.stream().synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, kFlops / seconds);
    elapsed += seconds;
  }
  return best;
}

}  // namespace trireme::ops
