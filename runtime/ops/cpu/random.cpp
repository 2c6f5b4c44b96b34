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

/// The first n columns of a row, whose counters begin at `counter`.
template <class T>
TRIREME_INLINE void jitter_columns(const JitterOptions& o, uint64_t counter, uint64_t sample, const T* x,
                                   T* y, int64_t n) {
  const float eps = o.eps;
  const uint64_t key = o.key;
  const auto jittered = [&](int64_t c, uint32_t bits) {
    return static_cast<float>(x[c]) * (1.0f + eps * (2.0f * uniform_from_bits(bits) - 1.0f));
  };
#pragma omp simd
  for (int64_t i = 0; i < n / 4; ++i) {
    const auto bits = philox4x32(key, counter + static_cast<uint64_t>(i), sample);
    store(y + 4 * i, jittered(4 * i, bits[0]));
    store(y + 4 * i + 1, jittered(4 * i + 1, bits[1]));
    store(y + 4 * i + 2, jittered(4 * i + 2, bits[2]));
    store(y + 4 * i + 3, jittered(4 * i + 3, bits[3]));
  }
  const auto bits = philox4x32(key, counter + static_cast<uint64_t>(n / 4), sample);
  for (int64_t c = n / 4 * 4; c < n; ++c) store(y + c, jittered(c, bits[static_cast<size_t>(c % 4)]));
}

#define TRIREME_JITTER(T)                                                                                   \
  TRIREME_VECTORIZED void jitter_row(const JitterOptions& o, uint64_t counter, uint64_t sample, const T* x, \
                                     T* y, int64_t n) {                                                     \
    jitter_columns(o, counter, sample, x, y, n);                                                            \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_JITTER)
#undef TRIREME_JITTER

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

void jitter(Context& ctx, const JitterOptions& options, const Tensor& positions, int64_t first_row,
            const Tensor& x, const Tensor& y) {
  const auto* position = positions.data<int32_t>();
  const int64_t width = x.dim(1);
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_for(ctx.num_threads(), x.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t row = first_row + n;
        jitter_row(options, static_cast<uint64_t>(position[row]) << 32,
                   static_cast<uint64_t>(options.first_sample + row / options.rows_per_sample),
                   in + n * width, out + n * width, width);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
