// What kernels take of a product with packed weights.
#pragma once

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/packed/packed_layout.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme::ops::cuda {

inline constexpr int kParts = 8, kProductThreads = kParts * kWarp;

/// Rows that one matrix is multiplied with.
struct RowGroup {
  int64_t first = 0, rows = 0, matrix = 0;
};
/// As many as the arguments of a kernel hold with ease.
struct RowGroups {
  static constexpr int kMost = 64;
  RowGroup at[kMost];
  int count = 0;
  int64_t most_rows = 0;

  void add(const RowGroup& group) {
    at[count++] = group;
    if (group.rows > most_rows) most_rows = group.rows;
  }
};

/// What kernels take of a product; T: of x.
template <class T>
struct ProductOperands {
  PackedLayout layout;
  const std::byte* weights;
  const T* x;
  const float* bias;  // or null
  void* y;
  int64_t y_stride;
  bool y_is_f32, x_in_vectors;

  ProductOperands(const Tensor& rows, const PackedWeight& w, const Tensor& b, const Columns& out)
      : layout(w),
        weights(static_cast<const std::byte*>(w.data.raw())),
        x(rows.data<T>()),
        bias(data_or_null<float>(b)),
        y(out.raw()),
        y_stride(out.stride()),
        y_is_f32(out.dtype() == DType::f32),
        x_in_vectors(reinterpret_cast<uintptr_t>(x) % 16 == 0 &&
                     w.inputs * static_cast<int64_t>(sizeof(T)) % 16 == 0) {}

  __device__ const std::byte* tile(int64_t matrix, int64_t i) const {
    return weights + (matrix * layout.tiles + i) * layout.tile_bytes;
  }
  __device__ int64_t first_unit(int part) const { return layout.units * part / kParts; }
  /// x[row, input ... input + 3], zeros beyond the last input.
  __device__ void load(int64_t row, int64_t input, T (&four)[4]) const {
    const T* from = x + row * layout.inputs + input;
    if (x_in_vectors && input < layout.inputs) {
      struct alignas(4 * sizeof(T)) Four {
        T at[4];
      };
      const Four whole = *reinterpret_cast<const Four*>(from);
#pragma unroll
      for (int i = 0; i < 4; ++i) four[i] = whole.at[i];
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) four[i] = input + i < layout.inputs ? from[i] : narrowed<T>(0.0f);
  }
  __device__ void store(int64_t row, int64_t output, float sum) const {
    if (bias != nullptr) sum += bias[output];
    if (y_is_f32) {
      static_cast<float*>(y)[row * y_stride + output] = sum;
    } else {
      narrow(sum, static_cast<T*>(y)[row * y_stride + output]);
    }
  }
};

}  // namespace trireme::ops::cuda
