#include "runtime/ops/elementwise.h"

#include <cmath>

#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

template <class T>
struct Fill {
  T* t;
  T value;
  __device__ void operator()(int64_t i, int count) const {
    for (int j = 0; j < count; ++j) t[i + j] = value;
  }
};

template <class T>
struct Scale {
  T* t;
  float factor;
  __device__ void operator()(int64_t i, int count) const {
    float x[kPack];
    load(t + i, count, x);
    for (float& value : x) value *= factor;
    store(t + i, count, x);
  }
};

/// Of bits: what is not finite goes too. Nothing is read or written of t where nothing is zeroed.
template <class Bits>
struct ZeroWhere {
  const uint8_t* where;
  Bits* t;
  __device__ void operator()(int64_t i, int count) const {
    for (int j = 0; j < count; ++j) {
      if (where[i + j] != 0) t[i + j] = 0;
    }
  }
};

template <class T>
struct SoftCap {
  T* x;
  int64_t stride;
  float cap;
  __device__ void operator()(int64_t row, int64_t column, int count) const {
    float values[kPack];
    load(x + row * stride + column, count, values);
    for (float& value : values) value = cap * tanhf(value / cap);
    store(x + row * stride + column, count, values);
  }
};

/// y = a + b, each of its own type.
template <class A, class B, class Y>
struct Add {
  const A* a;
  const B* b;
  Y* y;
  __device__ void operator()(int64_t i, int count) const {
    float x[kPack], z[kPack];
    load(a + i, count, x);
    load(b + i, count, z);
    for (int j = 0; j < kPack; ++j) x[j] += z[j];
    store(y + i, count, x);
  }
};

template <class From, class To>
struct Convert {
  const From* from;
  To* to;
  __device__ void operator()(int64_t i, int count) const {
    float x[kPack];
    load(from + i, count, x);
    store(to + i, count, x);
  }
};

template <class T>
void fill_with(Context& ctx, const Tensor& t, T value) {
  launch_elementwise(ctx, t.numel(), Fill<T>{t.data<T>(), value});
}

}  // namespace

void fill(Context& ctx, const Tensor& t, double value) {
  if (value == 0 && !std::signbit(value)) {  // all bits of every type are zero
    return trireme::cuda::check(
        cudaMemsetAsync(t.raw(), 0, static_cast<size_t>(t.bytes()), trireme::cuda::raw_stream(ctx.stream())),
        "cudaMemsetAsync");
  }
  if (t.dtype() == DType::f64) return fill_with(ctx, t, value);
  if (t.dtype() == DType::i32) return fill_with(ctx, t, static_cast<int32_t>(value));
  with_compute_type(t.dtype(), [&]<class T>(T) { fill_with(ctx, t, T(static_cast<float>(value))); });
}

void scale(Context& ctx, const Tensor& t, float factor) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    launch_elementwise(ctx, t.numel(), Scale<T>{t.data<T>(), factor});
  });
}

void soft_cap(Context& ctx, const Columns& x, float cap) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_rows(ctx, x.rows(), x.count, SoftCap<T>{x.data<T>(), x.stride(), cap});
  });
}

void add(Context& ctx, const Tensor& a, const Tensor& b, const Tensor& y) {
  with_compute_type(y.dtype(), [&]<class T>(T) {
    launch_elementwise(ctx, y.numel(), Add<T, T, T>{a.data<T>(), b.data<T>(), y.data<T>()});
  });
}

void zero_where(Context& ctx, const Tensor& where, const Tensor& t) {
  const auto* mask = where.data<uint8_t>();
  if (t.dtype() == DType::f32)
    return launch_elementwise(ctx, t.numel(), ZeroWhere<uint32_t>{mask, static_cast<uint32_t*>(t.raw())});
  launch_elementwise(ctx, t.numel(), ZeroWhere<uint16_t>{mask, static_cast<uint16_t*>(t.raw())});
}

void accumulate(Context& ctx, const Tensor& x, const Tensor& y) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    auto* out = y.data<float>();
    launch_elementwise(ctx, y.numel(), Add<float, T, float>{out, x.data<T>(), out});
  });
}

void copy(Context& ctx, const Tensor& from, const Tensor& to) {
  if (to.numel() == 0) return;
  if (from.dtype() == to.dtype()) {
    return trireme::cuda::check(
        cudaMemcpyAsync(to.raw(), from.raw(), static_cast<size_t>(to.bytes()), cudaMemcpyDeviceToDevice,
                        trireme::cuda::raw_stream(ctx.stream())),
        "cudaMemcpyAsync");
  }
  with_compute_type(from.dtype(), [&]<class From>(From) {
    with_compute_type(to.dtype(), [&]<class To>(To) {
      launch_elementwise(ctx, to.numel(), Convert<From, To>{from.data<From>(), to.data<To>()});
    });
  });
}

void copy_columns(Context& ctx, const Columns& from, const Columns& to) {
  if (from.rows() == 0 || from.count == 0) return;
  const size_t element = size_of(from.matrix.dtype());
  const auto place = [&](const Columns& c) {
    return static_cast<std::byte*>(c.matrix.raw()) + static_cast<size_t>(c.begin) * element;
  };
  const auto bytes = [&](int64_t columns) { return static_cast<size_t>(columns) * element; };
  trireme::cuda::check(cudaMemcpy2DAsync(place(to), bytes(to.stride()), place(from), bytes(from.stride()),
                                         bytes(from.count), static_cast<size_t>(from.rows()),
                                         cudaMemcpyDeviceToDevice, trireme::cuda::raw_stream(ctx.stream())),
                       "cudaMemcpy2DAsync");
}

}  // namespace trireme::ops::cuda
