#include "runtime/ops/convolution.h"

#include <array>
#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kChannels = 64;  // of which sums stay in registers or the first cache

template <class T>
TRIREME_INLINE void multiply_of(const T* a, const T* x, T* u, int64_t width) {
#pragma omp simd
  for (int64_t c = 0; c < width; ++c) store(u + c, static_cast<float>(a[c]) * static_cast<float>(x[c]));
}

/// y = gate * sum over k < n of w[k] * taps[k], where w has `width` numbers for each tap.
template <class T>
TRIREME_INLINE void convolve_of(const T* const* taps, int64_t n, const float* w, int64_t width, const T* gate,
                                T* y) {
  for (int64_t begin = 0; begin < width; begin += kChannels) {
    const int64_t count = std::min(kChannels, width - begin);
    float sums[kChannels] = {};
    for (int64_t k = 0; k < n; ++k) {
      const float* wk = w + k * width + begin;
      const T* tap = taps[k] + begin;
#pragma omp simd
      for (int64_t c = 0; c < count; ++c) sums[c] += wk[c] * static_cast<float>(tap[c]);
    }
#pragma omp simd
    for (int64_t c = 0; c < count; ++c) store(y + begin + c, static_cast<float>(gate[begin + c]) * sums[c]);
  }
}

/// du += the sum over k < n of w[k] * b[k] * dy[k].
template <class T>
TRIREME_INLINE void gather_of(const T* const* b, const T* const* dy, int64_t n, const float* w, int64_t width,
                              float* du) {
  for (int64_t k = 0; k < n; ++k) {
    const float* wk = w + k * width;
    const T *bk = b[k], *dyk = dy[k];
#pragma omp simd
    for (int64_t c = 0; c < width; ++c)
      du[c] += wk[c] * (static_cast<float>(bk[c]) * static_cast<float>(dyk[c]));
  }
}

/// sums[k] += b * dy * taps[k], k < n.
template <class T>
TRIREME_INLINE void add_taps_of(const T* b, const T* dy, const T* const* taps, int64_t n, int64_t width,
                                float* sums) {
  for (int64_t k = 0; k < n; ++k) {
    float* of_tap = sums + k * width;
    const T* tap = taps[k];
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) {
      of_tap[c] += static_cast<float>(b[c]) * static_cast<float>(dy[c]) * static_cast<float>(tap[c]);
    }
  }
}

template <class T>
TRIREME_INLINE void scale_row_of(const float* du, const T* by, T* out, int64_t width) {
#pragma omp simd
  for (int64_t c = 0; c < width; ++c) store(out + c, du[c] * static_cast<float>(by[c]));
}

#define TRIREME_DEFINE_CONVOLUTION(T)                                                                       \
  TRIREME_VECTORIZED void multiply_rows(const T* a, const T* x, T* u, int64_t width) {                      \
    multiply_of(a, x, u, width);                                                                            \
  }                                                                                                         \
  TRIREME_VECTORIZED void convolve_row(const T* const* taps, int64_t n, const float* w, int64_t width,      \
                                       const T* gate, T* y) {                                               \
    convolve_of(taps, n, w, width, gate, y);                                                                \
  }                                                                                                         \
  TRIREME_VECTORIZED void gather_row(const T* const* b, const T* const* dy, int64_t n, const float* w,      \
                                     int64_t width, float* du) {                                            \
    gather_of(b, dy, n, w, width, du);                                                                      \
  }                                                                                                         \
  TRIREME_VECTORIZED void add_taps(const T* b, const T* dy, const T* const* taps, int64_t n, int64_t width, \
                                   float* sums) {                                                           \
    add_taps_of(b, dy, taps, n, width, sums);                                                               \
  }                                                                                                         \
  TRIREME_VECTORIZED void scale_row(const float* du, const T* by, T* out, int64_t width) {                  \
    scale_row_of(du, by, out, width);                                                                       \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_CONVOLUTION)
#undef TRIREME_DEFINE_CONVOLUTION

/// [kernel, width], so that loops run over channels.
std::vector<float> by_taps(const Tensor& w) {
  const int64_t width = w.dim(0), kernel = w.dim(1);
  std::vector<float> taps(static_cast<size_t>(width * kernel));
  for (int64_t c = 0; c < width; ++c) {
    for (int64_t k = 0; k < kernel; ++k)
      taps[static_cast<size_t>(k * width + c)] = w.data<float>()[c * kernel + k];
  }
  return taps;
}

template <class T>
using Taps = std::array<const T*, kMostTaps>;

/// Rows of runs, and what lies before them.
template <class T>
struct Runs {
  const ConvolutionShape& s;
  const T *u, *before;
  const int32_t* positions;

  Runs(const ConvolutionShape& shape, const Tensor& inputs, const Tensor& inputs_before, const Tensor& places)
      : s(shape),
        u(inputs ? inputs.data<T>() : nullptr),
        before(inputs_before ? inputs_before.data<T>() : nullptr),
        positions(places.data<int32_t>()) {}

  /// What row r sees, itself first; how many.
  int64_t taps_of(int64_t r, Taps<T>& taps) const {
    const int64_t place = r % s.length, run = r / s.length;
    int64_t n = std::min<int64_t>(s.kernel, int64_t{positions[r]} + 1);
    if (before == nullptr) n = std::min(n, place + 1);
    for (int64_t k = 0; k < n; ++k) {
      taps[static_cast<size_t>(k)] =
          k <= place ? u + (r - k) * s.width
                     : before + (run * (s.kernel - 1) + s.kernel - 1 - (k - place)) * s.width;
    }
    return n;
  }

  /// How many of the rows from `first` on, in its run, see the row `back` before `first`.
  int64_t readers(int64_t first, int64_t back) const {
    const int64_t end = (first / s.length + 1) * s.length;
    int64_t n = 0;
    while (back + n < s.kernel && first + n < end && positions[first + n] >= back + n) ++n;
    return n;
  }
};

/// The gradient of the input `back` rows before row `first` of a run, added to du.
template <class T>
void gather_gradient(const Runs<T>& runs, const Columns& abx, const T* dy, const float* w, int64_t first,
                     int64_t back, float* du) {
  const int64_t width = runs.s.width, n = runs.readers(first, back);
  Taps<T> b, of_y;
  for (int64_t i = 0; i < n; ++i) {
    b[static_cast<size_t>(i)] = abx.row<T>(first + i) + width;
    of_y[static_cast<size_t>(i)] = dy + (first + i) * width;
  }
  gather_row(b.data(), of_y.data(), n, w + back * width, width, du);
}

/// Rows whose shares of dw are summed one after the other. It depends on the number of rows alone.
int64_t convolution_rows_a_block(int64_t rows) { return std::max<int64_t>(64, (rows + 63) / 64); }

}  // namespace

void gated_inputs(Context& ctx, const Columns& abx, const Tensor& u) {
  const int64_t width = u.dim(1);
  with_compute_type(u.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), u.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        multiply_rows(abx.row<T>(r), abx.row<T>(r) + 2 * width, u.data<T>() + r * width, width);
    });
  });
}

void convolution(Context& ctx, const ConvolutionShape& s, const Tensor& u, const Tensor& before,
                 const Columns& abx, const Tensor& w, const Tensor& positions, const Tensor& y) {
  const std::vector<float> taps_of_w = by_taps(w);
  with_compute_type(u.dtype(), [&]<class T>(T) {
    const Runs<T> runs(s, u, before, positions);
    parallel_for(ctx.num_threads(), s.rows(), row_grain(s.width), [&](int64_t begin, int64_t end) {
      Taps<T> taps;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t n = runs.taps_of(r, taps);
        convolve_row(taps.data(), n, taps_of_w.data(), s.width, abx.row<T>(r) + s.width,
                     y.data<T>() + r * s.width);
      }
    });
  });
}

void convolution_backward_before(Context& ctx, const ConvolutionShape& s, const Tensor& dy,
                                 const Columns& abx, const Tensor& w, const Tensor& positions,
                                 const Tensor& dbefore) {
  const std::vector<float> taps_of_w = by_taps(w);
  const int64_t lead = s.kernel - 1;
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    const Runs<T> runs(s, Tensor(), Tensor(), positions);
    parallel_for(ctx.num_threads(), s.rows_before(), row_grain(s.width), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* du = dbefore.data<float>() + i * s.width;
        std::fill_n(du, s.width, 0.0f);
        if (s.length > 0)
          gather_gradient(runs, abx, dy.data<T>(), taps_of_w.data(), i / lead * s.length, lead - i % lead,
                          du);
      }
    });
  });
}

void convolution_backward(Context& ctx, const ConvolutionShape& s, const Tensor& dy, const Tensor& u,
                          const Tensor& before, const Columns& abx, const Tensor& w, const Tensor& positions,
                          const Tensor& dafter, const Columns& dabx, const Tensor& dw) {
  const std::vector<float> taps_of_w = by_taps(w);
  const int64_t rows = s.rows(), width = s.width, lead = s.kernel - 1;
  const int64_t block = convolution_rows_a_block(rows), num_blocks = (rows + block - 1) / block;
  const Tensor partials =
      Tensor::empty(ctx, {num_blocks, s.kernel * width}, DType::f32, MemoryCategory::buffers);
  with_compute_type(u.dtype(), [&]<class T>(T) {
    const Runs<T> runs(s, u, before, positions);
    const auto row_backward = [&](int64_t r, float* sums, float* du) {
      Taps<T> taps;
      const int64_t n = runs.taps_of(r, taps);
      const T *of_y = dy.data<T>() + r * width, *in = abx.row<T>(r);
      T* out = dabx.row<T>(r);
      convolve_row(taps.data(), n, taps_of_w.data(), width, of_y, out + width);
      add_taps(in + width, of_y, taps.data(), n, width, sums);
      const int64_t place = r % s.length, from_end = s.length - place;  // 1: the last of its run
      if (dafter && from_end <= lead) {
        std::copy_n(dafter.data<float>() + (r / s.length * lead + lead - from_end) * width, width, du);
      } else {
        std::fill_n(du, width, 0.0f);
      }
      gather_gradient(runs, abx, dy.data<T>(), taps_of_w.data(), r, 0, du);
      scale_row(du, in + 2 * width, out, width);
      scale_row(du, in, out + 2 * width, width);
    };
    const int64_t grain = std::max<int64_t>(1, row_grain(width) / block);
    parallel_for(ctx.num_threads(), num_blocks, grain, [&](int64_t begin, int64_t end) {
      std::vector<float> du(static_cast<size_t>(width));
      for (int64_t b = begin; b < end; ++b) {
        float* sums = partials.data<float>() + b * s.kernel * width;
        std::fill_n(sums, s.kernel * width, 0.0f);
        for (int64_t r = b * block; r < std::min(rows, (b + 1) * block); ++r)
          row_backward(r, sums, du.data());
      }
    });
  });
  for (int64_t b = 0; b < num_blocks; ++b) {
    const float* sums = partials.data<float>() + b * s.kernel * width;
    for (int64_t c = 0; c < width; ++c) {
      for (int64_t k = 0; k < s.kernel; ++k) dw.data<float>()[c * s.kernel + k] += sums[k * width + c];
    }
  }
}

void paged_convolution(Context& ctx, const PagedRows& rows, const Columns& abx, const Tensor& w,
                       const Tensor& cache, const Tensor& y) {
  const std::vector<float> taps_of_w = by_taps(w);
  const int64_t n = rows.num_rows(), width = cache.dim(2), tokens = cache.dim(1), kernel = w.dim(1);
  const auto *sequences = rows.sequences.data<int32_t>(), *places = rows.places.data<int32_t>(),
             *tables = rows.block_tables.data<int32_t>();
  with_compute_type(y.dtype(), [&]<class T>(T) {
    const auto cached = [&](int64_t r, int64_t place) {
      const int64_t block = tables[sequences[r] * rows.block_tables.dim(1) + place / tokens];
      return cache.data<T>() + (block * tokens + place % tokens) * width;
    };
    parallel_for(ctx.num_threads(), n, row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        multiply_rows(abx.row<T>(r), abx.row<T>(r) + 2 * width, cached(r, places[r]), width);
    });
    parallel_for(ctx.num_threads(), n, row_grain(width), [&](int64_t begin, int64_t end) {
      Taps<T> taps;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t seen = std::min<int64_t>(kernel, int64_t{places[r]} + 1);
        for (int64_t k = 0; k < seen; ++k) taps[static_cast<size_t>(k)] = cached(r, places[r] - k);
        convolve_row(taps.data(), seen, taps_of_w.data(), width, abx.row<T>(r) + width,
                     y.data<T>() + r * width);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
