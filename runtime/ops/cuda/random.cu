// Compiled without contraction to fused multiply-adds (cmake/targets.cmake), as the CPU body: the same bits.
#include "runtime/ops/random.h"

#include "runtime/base/philox.h"
#include "runtime/ops/cuda/block_place.cuh"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

struct FillNormal {
  float* t;
  BlockPlace place;
  uint64_t key;
  float mean, std;

  // Initialisation alone: a counter's four numbers are made for each element.
  __device__ void operator()(int64_t i, int count) const {
    int64_t g = 0, left = 0;
    for (int j = 0; j < count; ++j, ++g, --left) {
      if (left == 0) g = place(i + j, left);
      const auto numbers = philox_normal4(key, static_cast<uint64_t>(g / 4), 0);
      t[i + j] = mean + std * numbers[static_cast<size_t>(g % 4)];
    }
  }
};

template <class T>
struct Jitter {
  JitterOptions options;
  const int32_t* positions;  // from the first row on
  int64_t first_row, width;
  const T* x;
  T* y;

  // Packs begin at multiples of 4.
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    const auto sample =
        static_cast<uint64_t>(options.first_sample + (first_row + row) / options.rows_per_sample);
    const uint64_t counter =
        (static_cast<uint64_t>(positions[row]) << 32) + static_cast<uint64_t>(column / 4);
    float values[kPack];
    load(x + row * width + column, count, values);
    for (int half = 0; half < kPack / 4; ++half) {
      const auto bits = philox4x32(options.key, counter + static_cast<uint64_t>(half), sample);
      for (int j = 0; j < 4; ++j) {
        const float u = uniform_from_bits(bits[static_cast<size_t>(j)]);
        values[4 * half + j] *= 1.0f + options.eps * (2.0f * u - 1.0f);
      }
    }
    store(y + row * width + column, count, values);
  }
};

}  // namespace

void jitter(Context& ctx, const JitterOptions& options, const Tensor& positions, int64_t first_row,
            const Tensor& x, const Tensor& y) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_rows(ctx, x.dim(0), x.dim(1),
                Jitter<T>{options, positions.data<int32_t>() + first_row, first_row, x.dim(1), x.data<T>(),
                          y.data<T>()});
  });
}

void fill_normal(Context& ctx, const Tensor& t, uint64_t seed, std::string_view name, const Shape& global,
                 const Shape& offset, float mean, float std) {
  launch_elementwise(
      ctx, t.numel(),
      FillNormal{t.data<float>(), {t.shape(), global, offset}, stream_key(seed, name), mean, std});
}

}  // namespace trireme::ops::cuda
