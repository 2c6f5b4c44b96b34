#include "runtime/ops/attention/rotary.h"

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

/// Columns of a row are counted over the first halves of what is rotated of its heads, each rounded up to
/// whole packs.
template <class T>
struct Rotate {
  T* heads;
  int64_t stride, head_dim, half, padded_half;
  const int32_t* positions;
  const float* table;
  int64_t max_positions;
  float sign;

  __device__ void operator()(int64_t row, int64_t column, int) const {
    const int64_t head = column / padded_half, i = column % padded_half;
    expect_index(positions[row], max_positions);
    const float* angles = table + positions[row] * 2 * half + i;
    T* low = heads + row * stride + head * head_dim + i;
    const int count = pack_size(i, half);
    float a[kPack], b[kPack], c[kPack], s[kPack];
    load(low, count, a);
    load(low + half, count, b);
    load(angles, count, c);
    load(angles + half, count, s);
    for (int j = 0; j < kPack; ++j) {
      const float x = a[j], y = b[j], sine = sign * s[j];
      a[j] = x * c[j] - y * sine;
      b[j] = x * sine + y * c[j];
    }
    store(low, count, a);
    store(low + half, count, b);
  }
};

}  // namespace

void rotary(Context& ctx, const Columns& heads, int64_t head_dim, const Tensor& positions,
            const Tensor& table, bool inverse) {
  const int64_t half = table.dim(1) / 2, padded_half = ceil_div(half, kPack) * kPack;
  with_compute_type(heads.matrix.dtype(), [&]<class T>(T) {
    launch_rows(
        ctx, heads.rows(), heads.count / head_dim * padded_half,
        Rotate<T>{heads.matrix.data<T>() + heads.begin, heads.stride(), head_dim, half, padded_half,
                  positions.data<int32_t>(), table.data<float>(), table.dim(0), inverse ? -1.0f : 1.0f});
  });
}

}  // namespace trireme::ops::cuda
