// Tensors of given or random values for tests, and the way back to plain vectors, on any device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/compute_type.h"
#include "runtime/tensor/tensor.h"

namespace trireme::test {

/// Copies between the host and the tensor's memory.
inline void copy_memory(const Tensor& t, void* to, const void* from) {
  const auto bytes = static_cast<size_t>(t.bytes());
  if (bytes == 0) return;
  if (t.device().type == DeviceType::cpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::copy_and_wait(t.device().index, to, from, bytes);
  }
}

/// The elements; T is the type of the tensor's dtype.
template <class T>
std::vector<T> read(const Tensor& t) {
  std::vector<T> values(static_cast<size_t>(t.numel()));
  copy_memory(t, values.data(), t.data<T>());
  return values;
}
template <class T>
void write(const Tensor& t, const std::vector<T>& values) {
  TRIREME_CHECK(t.numel() == static_cast<int64_t>(values.size()), "{} values for {}", values.size(),
                to_string(t.shape()));
  copy_memory(t, t.data<T>(), values.data());
}

/// A tensor of a compute type with `values`, rounded to that type.
inline Tensor make_tensor(Context& ctx, const Shape& shape, DType dtype, const std::vector<float>& values) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  ops::with_compute_type(t.dtype(), [&]<class T>(T) {
    std::vector<T> rounded(values.size());
    for (size_t i = 0; i < values.size(); ++i) rounded[i] = static_cast<T>(values[i]);
    write(t, rounded);
  });
  return t;
}

/// Normal numbers of standard deviation `scale`, rounded to `dtype`.
inline Tensor random_tensor(Context& ctx, const Shape& shape, DType dtype, uint64_t seed,
                            float scale = 1.0f) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = scale * philox_normal4(seed, i / 4, 0)[i % 4];
  return make_tensor(ctx, shape, dtype, values);
}

/// The elements of a tensor of a compute type.
inline std::vector<float> to_vector(const Tensor& t) {
  std::vector<float> values(static_cast<size_t>(t.numel()));
  ops::with_compute_type(t.dtype(), [&]<class T>(T) {
    const auto in = read<T>(t);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(in[i]);
  });
  return values;
}

/// A copy of a matrix of a compute type in the middle of a wider one. All elements beside it are NaN, so that
/// who reads them shows it.
inline ops::Columns widened(Context& ctx, const Tensor& matrix, int64_t before, int64_t after) {
  const int64_t rows = matrix.dim(0), width = matrix.dim(1), stride = before + width + after;
  std::vector<float> values(static_cast<size_t>(rows * stride), std::nanf(""));
  const auto own = to_vector(matrix);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(own.begin() + r * width, width, values.begin() + r * stride + before);
  return {make_tensor(ctx, {rows, stride}, matrix.dtype(), values), before, width};
}

/// The elements of columns of a compute type; those of the matrix beside them have to be NaN still.
inline std::vector<float> to_vector(const ops::Columns& c) {
  const auto all = to_vector(c.matrix);
  std::vector<float> values;
  for (int64_t i = 0; i < c.matrix.numel(); ++i) {
    const int64_t column = i % c.stride();
    if (column >= c.begin && column < c.begin + c.count) {
      values.push_back(all[static_cast<size_t>(i)]);
    } else {
      TRIREME_CHECK(std::isnan(all[static_cast<size_t>(i)]), "row {}, column {} has been written to",
                    i / c.stride(), column);
    }
  }
  return values;
}

}  // namespace trireme::test
