#include "runtime/ops/gemm_rate.h"

#include <algorithm>
#include <chrono>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm.h"

namespace trireme::ops {

namespace {

using Clock = std::chrono::steady_clock;

/// The least seconds that a product of square matrices takes.
double measure_seconds(Context& ctx, DType dtype, int64_t size) {
  const auto matrix = [&](double value) {
    const Tensor t = Tensor::empty(ctx, {size, size}, dtype, MemoryCategory::buffers);
    fill(ctx, t, value);
    return t;
  };
  const Tensor a = matrix(0.5), b = matrix(0.25), c = matrix(0);
  double best = 1e30, elapsed = 0;
  for (int run = 0; run < 100 && (run < 3 || elapsed < 0.15); ++run) {
    ctx.stream().synchronize();
    const auto start = Clock::now();
    gemm(ctx, {.transpose_b = true}, a, b, {}, c);
    ctx.stream().synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    elapsed += seconds;
  }
  return best;
}

}  // namespace

// A device that is done sooner has waited for the launch more than it has worked.
double measure_gemm_rate(Context& ctx, DType dtype) {
  constexpr int64_t kSmallest = 1024, kLargest = 8192;
  constexpr double kLongEnough = 2e-4;
  double rate = 0;
  for (int64_t size = kSmallest; size <= kLargest; size *= 2) {
    const double seconds = measure_seconds(ctx, dtype, size), n = static_cast<double>(size);
    rate = std::max(rate, 2 * n * n * n / seconds);
    if (seconds >= kLongEnough) break;
  }
  return rate;
}

}  // namespace trireme::ops
