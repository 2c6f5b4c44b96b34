#include "runtime/ops/elementwise.h"

#include <cstring>
#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

template <class T>
TRIREME_INLINE void soft_cap_loop(T* x, int64_t n, float cap) {
  const float inverse = 1.0f / cap;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(x + i, cap * fast_tanh(static_cast<float>(x[i]) * inverse));
}

#define TRIREME_SOFT_CAP(T) \
  TRIREME_VECTORIZED void soft_cap_row(T* x, int64_t n, float cap) { soft_cap_loop(x, n, cap); }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_SOFT_CAP)

// Of bits: what is not finite goes too.
template <class Bits>
TRIREME_INLINE void zero_loop(const uint8_t* where, Bits* t, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) t[i] = where[i] != 0 ? Bits{0} : t[i];
}

#define TRIREME_ZERO_WHERE(name, Bits) \
  TRIREME_VECTORIZED void name(const uint8_t* where, Bits* t, int64_t n) { zero_loop(where, t, n); }
TRIREME_ZERO_WHERE(zero_range_16, uint16_t)
TRIREME_ZERO_WHERE(zero_range_32, uint32_t)

template <class T>
void fill_with(Context& ctx, const Tensor& t, T value) {
  T* out = t.data<T>();
  parallel_elements(ctx, t.numel(),
                    [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, value); });
}

int64_t num_blocks(int64_t numel) { return (numel + kSumBlock - 1) / kSumBlock; }

/// sums[b] = the sum of block b.
template <class BlockSum>
void sum_blocks(Context& ctx, int64_t numel, double* sums, BlockSum&& block_sum) {
  parallel_for(ctx.num_threads(), num_blocks(numel), kGrain / kSumBlock, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kSumBlock;
      sums[b] = block_sum(first, std::min(kSumBlock, numel - first));
    }
  });
}

void add_runs(const double* sums, int64_t count, double& out) {
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kSumRun) {
    double run = begin == 0 ? out : 0;
    for (int64_t i = begin; i < std::min(begin + kSumRun, count); ++i) run += sums[i];
    total += run;
  }
  if (count > 0) out = total;
}

/// out[0] += the sums of the blocks.
template <class BlockSum>
void add_block_sums(Context& ctx, int64_t numel, const Tensor& out, BlockSum&& block_sum) {
  std::vector<double> sums(static_cast<size_t>(num_blocks(numel)));
  sum_blocks(ctx, numel, sums.data(), block_sum);
  add_runs(sums.data(), std::ssize(sums), *out.data<double>());
}

}  // namespace

void fill(Context& ctx, const Tensor& t, double value) {
  if (t.dtype() == DType::f64) return fill_with(ctx, t, value);
  if (t.dtype() == DType::i32) return fill_with(ctx, t, static_cast<int32_t>(value));
  with_compute_type(t.dtype(),
                    [&]<class T>(T) { fill_with(ctx, t, static_cast<T>(static_cast<float>(value))); });
}

void scale(Context& ctx, const Tensor& t, float factor) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    T* values = t.data<T>();
    parallel_elements(ctx, t.numel(),
                      [&](int64_t begin, int64_t end) { scale_range(values + begin, factor, end - begin); });
  });
}

void soft_cap(Context& ctx, const Columns& x, float cap) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), x.rows(), row_grain(x.count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) soft_cap_row(x.row<T>(r), x.count, cap);
    });
  });
}

void add(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y) {
  with_compute_type(y.dtype(), [&]<class T>(T) {
    const T *first = a.data<T>(), *second = b.data<T>();
    T* out = y.data<T>();
    parallel_elements(ctx, y.numel(), [&](int64_t begin, int64_t end) {
      add_range(first + begin, second + begin, out + begin, end - begin);
    });
  });
}

void zero_where(Context& ctx, const Tensor& where, const Tensor& t) {
  const auto* mask = where.data<uint8_t>();
  parallel_elements(ctx, t.numel(), [&](int64_t begin, int64_t end) {
    if (t.dtype() == DType::f32) {
      zero_range_32(mask + begin, static_cast<uint32_t*>(t.raw()) + begin, end - begin);
    } else {
      zero_range_16(mask + begin, static_cast<uint16_t*>(t.raw()) + begin, end - begin);
    }
  });
}

void accumulate(Context& ctx, const Tensor& x, const Tensor& y) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>();
    auto* out = y.data<float>();
    parallel_elements(ctx, y.numel(), [&](int64_t begin, int64_t end) {
      accumulate_range(in + begin, out + begin, end - begin);
    });
  });
}

void copy(Context& ctx, const Tensor& from, const Tensor& to) {
  if (from.dtype() == to.dtype()) {
    const auto* in = static_cast<const std::byte*>(from.raw());
    auto* out = static_cast<std::byte*>(to.raw());
    return parallel_for(ctx.num_threads(), to.bytes(), 4 * kGrain, [&](int64_t begin, int64_t end) {
      std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
    });
  }
  with_compute_type(from.dtype(), [&]<class From>(From) {
    with_compute_type(to.dtype(), [&]<class To>(To) {
      const From* in = from.data<From>();
      To* out = to.data<To>();
      parallel_elements(ctx, to.numel(), [&](int64_t begin, int64_t end) {
        convert_range(in + begin, out + begin, end - begin);
      });
    });
  });
}

void copy_columns(Context& ctx, const Columns& from, const Columns& to) {
  const auto element = static_cast<int64_t>(size_of(from.matrix.dtype()));
  const auto* in = static_cast<const std::byte*>(from.matrix.raw()) + from.begin * element;
  auto* out = static_cast<std::byte*>(to.matrix.raw()) + to.begin * element;
  const int64_t width = from.count * element;
  parallel_for(ctx.num_threads(), from.rows(), row_grain(from.count), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(out + r * to.stride() * element, in + r * from.stride() * element,
                  static_cast<size_t>(width));
    }
  });
}

void add_sum(Context& ctx, const Tensor& t, const Tensor& out) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    const T* values = t.data<T>();
    add_block_sums(ctx, t.numel(), out,
                   [&](int64_t first, int64_t n) { return sum_range(values + first, n); });
  });
}

void add_sum_of_squares(Context& ctx, const Tensor& t, const Tensor& out) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    const T* values = t.data<T>();
    add_block_sums(ctx, t.numel(), out,
                   [&](int64_t first, int64_t n) { return sum_of_squares_range(values + first, n); });
  });
}

void block_sums_of_squares(Context& ctx, const Tensor& t, const Tensor& sums) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    const T* values = t.data<T>();
    sum_blocks(ctx, t.numel(), sums.data<double>(),
               [&](int64_t first, int64_t n) { return sum_of_squares_range(values + first, n); });
  });
}

void add_in_order(Context&, const Tensor& sums, const Tensor& out) {
  add_runs(sums.data<double>(), sums.numel(), *out.data<double>());
}

}  // namespace trireme::ops::cpu
