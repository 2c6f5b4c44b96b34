#include "runtime/profile/device_rates.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "runtime/base/team_clock.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/random.h"

namespace trireme::ops {

namespace {

constexpr double kSeconds = 0.15;  // of the measurement of memory, about

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

// Some processors multiply constants faster than numbers.
Tensor drawn(Context& ctx, const Shape& shape, DType dtype, std::string_view name) {
  const Tensor numbers = Tensor::empty(ctx, shape, DType::f32, MemoryCategory::buffers);
  fill_normal(ctx, numbers, 1, name, shape, {0, 0}, 0, 1);
  if (dtype == DType::f32) return numbers;
  const Tensor t = Tensor::empty(ctx, shape, dtype, MemoryCategory::buffers);
  copy(ctx, numbers, t);
  return t;
}

double product_flops(int64_t size) {
  const auto n = static_cast<double>(size);
  return 2 * n * n * n;
}

/// Runs of a product of square matrices, until `is_enough` of the estimate.
template <class IsEnough>
RateEstimate estimate_product(Context& ctx, int64_t size, DType dtype, const RateRules& rules,
                              const IsEnough& is_enough) {
  using Clock = std::chrono::steady_clock;
  const Tensor a = drawn(ctx, {size, size}, dtype, "a"), b = drawn(ctx, {size, size}, dtype, "b"),
               c = Tensor::empty(ctx, {size, size}, dtype, MemoryCategory::buffers);
  const bool is_on_cpu = ctx.device().type == DeviceType::cpu;
  TeamClock team(is_on_cpu ? ctx.num_threads() : 1);
  RateEstimate estimate(rules, product_flops(size));
  while (!is_enough(estimate)) {
    ctx.stream().synchronize();
    team.start();
    const auto start = Clock::now();
    gemm(ctx, {.transpose_b = true}, a, b, {}, c);
    ctx.stream().synchronize();
    const double wall = std::chrono::duration<double>(Clock::now() - start).count();
    estimate.add({wall, is_on_cpu ? team.longest() : wall});
  }
  return estimate;
}

GemmRate rate_of(int64_t size, const RateEstimate& estimate) {
  return {product_flops(size) / estimate.seconds(), estimate.is_sure(), estimate.share()};
}

}  // namespace

// Larger and larger until the launch counts for little, or the cache. A device that takes long for a little
// is slow enough for its rate to show at once; and a run of less arithmetic than the large product is over
// before that is measured.
GemmRate measure_gemm_rate(Context& ctx, DType dtype, const RateRules& rules) {
  constexpr int64_t kProbe = 256, kSmallest = 1024, kLargest = 8192;
  constexpr double kLongEnough = 2e-4, kTooLong = 5e-3;
  const bool is_short = ctx.device().type == DeviceType::cpu && rules.most_flops < product_flops(kSmallest);
  const int least_runs = is_short ? 8 : 2;
  const RateEstimate probe = estimate_product(
      ctx, kProbe, dtype, {.agreeing = is_short ? rules.agreeing : 1}, [&](const RateEstimate& e) {
        return e.runs() >= least_runs && (e.seconds() <= kTooLong || e.elapsed() >= rules.least_seconds);
      });
  if (is_short || probe.seconds() > kTooLong) return rate_of(kProbe, probe);
  GemmRate best;
  for (int64_t size = kSmallest; size <= kLargest; size *= 2) {
    const RateEstimate estimate =
        estimate_product(ctx, size, dtype, rules, [](const RateEstimate& e) { return e.is_enough(); });
    const GemmRate rate = rate_of(size, estimate);
    if (rate.flops > best.flops) best = rate;
    if (estimate.seconds() >= kLongEnough) break;
  }
  return best;
}

double measure_memory_rate(Context& ctx) {
  constexpr int64_t kProbe = int64_t{256} << 10, kLargest = int64_t{32} << 20;
  constexpr double kTooLong = 5e-3;
  constexpr int kTimes = 4;  // at once
  const auto rate_at = [&](int64_t size, double at_least) {
    const Tensor t = filled(ctx, {size}, DType::f32, 1);
    const double seconds = least_seconds(ctx, at_least, [&] {
      for (int i = 0; i < kTimes; ++i) scale(ctx, t, 1);
    });
    return std::pair(kTimes * 2 * bytes_of(t) / seconds, seconds);
  };
  const auto [rate, seconds] = rate_at(kProbe, 0);
  return seconds > kTooLong ? rate : rate_at(kLargest, kSeconds).first;
}

DeviceRates measure_device_rates(Context& ctx, DType dtype) {
  return {measure_gemm_rate(ctx, dtype).flops, measure_memory_rate(ctx)};
}

}  // namespace trireme::ops
