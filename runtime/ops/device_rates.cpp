#include "runtime/ops/device_rates.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm.h"

namespace trireme::ops {

namespace {

constexpr double kSeconds = 0.15;  // of each measurement, about

/// The least seconds that `submit` and the device take, of at least three times: the first prepares much.
template <class Submit>
double least_seconds(Context& ctx, double at_least, const Submit& submit) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30, elapsed = 0;
  for (int run = 0; run < 3 || (run < 100 && elapsed < at_least); ++run) {
    ctx.stream().synchronize();
    const auto start = Clock::now();
    submit();
    ctx.stream().synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    elapsed += seconds;
  }
  return best;
}

Tensor filled(Context& ctx, const Shape& shape, DType dtype, double value) {
  const Tensor t = Tensor::empty(ctx, shape, dtype, MemoryCategory::buffers);
  fill(ctx, t, value);
  return t;
}

}  // namespace

// Larger and larger until the launch counts for little, or the cache. A device that takes long for a little
// is slow enough for its rate to show at once.
double measure_gemm_rate(Context& ctx, DType dtype) {
  constexpr int64_t kProbe = 256, kSmallest = 1024, kLargest = 8192;
  constexpr double kLongEnough = 2e-4, kTooLong = 5e-3;
  const auto seconds_of = [&](int64_t size, double at_least) {
    const Tensor a = filled(ctx, {size, size}, dtype, 0.5), b = filled(ctx, {size, size}, dtype, 0.25),
                 c = filled(ctx, {size, size}, dtype, 0);
    return least_seconds(ctx, at_least, [&] { gemm(ctx, {.transpose_b = true}, a, b, {}, c); });
  };
  const auto rate_of = [](int64_t size, double seconds) {
    const auto n = static_cast<double>(size);
    return 2 * n * n * n / seconds;
  };
  const double probe = seconds_of(kProbe, 0);
  if (probe > kTooLong) return rate_of(kProbe, probe);
  double rate = 0;
  for (int64_t size = kSmallest; size <= kLargest; size *= 2) {
    const double seconds = seconds_of(size, kSeconds);
    rate = std::max(rate, rate_of(size, seconds));
    if (seconds >= kLongEnough) break;
  }
  return rate;
}

double measure_memory_rate(Context& ctx) {
  constexpr int64_t kProbe = int64_t{256} << 10, kLargest = int64_t{32} << 20;
  constexpr double kTooLong = 5e-3;
  constexpr int kTimes = 4;  // at once
  const auto rate_of = [&](int64_t size, double at_least) {
    const Tensor t = filled(ctx, {size}, DType::f32, 1);
    const double seconds = least_seconds(ctx, at_least, [&] {
      for (int i = 0; i < kTimes; ++i) scale(ctx, t, 1);
    });
    return std::pair(kTimes * 2 * bytes_of(t) / seconds, seconds);
  };
  const auto [rate, seconds] = rate_of(kProbe, 0);
  return seconds > kTooLong ? rate : rate_of(kLargest, kSeconds).first;
}

DeviceRates measure_device_rates(Context& ctx, DType dtype) {
  return {measure_gemm_rate(ctx, dtype), measure_memory_rate(ctx)};
}

}  // namespace trireme::ops
