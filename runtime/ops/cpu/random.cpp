// Compiled without contraction to fused multiply-adds (cmake/targets.cmake): the versions for the instruction
// sets, and so all machines, give the same numbers.
#include "runtime/ops/random.h"

#include "runtime/base/philox.h"
#include "runtime/ops/cpu/block_runs.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// The 4 n numbers of counters first, first + 1, ...
TRIREME_VECTORIZED void normal_range(uint64_t key, int64_t first, float mean, float std, float* out,
                                     int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const auto x = philox_normal4(key, static_cast<uint64_t>(first + i), 0);
    out[4 * i] = mean + std * x[0];
    out[4 * i + 1] = mean + std * x[1];
    out[4 * i + 2] = mean + std * x[2];
    out[4 * i + 3] = mean + std * x[3];
  }
}

/// Global elements [g, g + n), which may begin and end inside a counter's four numbers.
void fill_run(uint64_t key, int64_t g, float mean, float std, float* out, int64_t n) {
  constexpr int64_t kCounters = 256;
  float numbers[4 * kCounters];
  while (n > 0) {
    const int64_t skip = g % 4, counters = std::min(kCounters, (skip + n + 3) / 4);
    normal_range(key, g / 4, mean, std, numbers, counters);
    const int64_t taken = std::min(n, 4 * counters - skip);
    std::copy(numbers + skip, numbers + skip + taken, out);
    out += taken;
    g += taken;
    n -= taken;
  }
}

}  // namespace

void fill_normal(Context& ctx, const Tensor& t, uint64_t seed, std::string_view name, const Shape& global,
                 const Shape& offset, float mean, float std) {
  const uint64_t key = stream_key(seed, name);
  const BlockRuns runs(t.shape(), global, offset);
  auto* out = t.data<float>();
  parallel_elements(ctx, t.numel(), [&](int64_t begin, int64_t end) {
    runs.for_each(begin, end, [&](int64_t global_element, int64_t at, int64_t n) {
      fill_run(key, global_element, mean, std, out + at, n);
    });
  });
}

}  // namespace trireme::ops::cpu
