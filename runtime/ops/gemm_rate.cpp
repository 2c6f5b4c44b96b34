#include "runtime/ops/gemm_rate.h"

#include <algorithm>
#include <chrono>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm.h"

namespace trireme::ops {

double measure_gemm_rate(Context& ctx, DType dtype) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kSize = 1024;
  constexpr double kFlops = 2.0 * kSize * kSize * kSize;
  const auto matrix = [&](double value) {
    const Tensor t = Tensor::empty(ctx, {kSize, kSize}, dtype, MemoryCategory::buffers);
    fill(ctx, t, value);
    return t;
  };
  const Tensor a = matrix(0.5), b = matrix(0.25), c = matrix(0);

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
