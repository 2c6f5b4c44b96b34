// How an op finds its body. Conventions for all ops:
//   * ops/x.h holds the contract, ops/x.cpp the checks and the dispatch, ops/cpu/x.cpp and ops/cuda/x.cu the
//   bodies;
//   * tensors are handles: outputs are passed by const reference too and come last, an undefined tensor means
//   "absent";
//   * all tensors of a call lie on the context's device; the work is submitted to the context's stream;
//   * arithmetic is fp32 or wider, whatever the storage type;
//   * on one machine no bit of a result depends on the number of threads: what is added up in which order
//   follows from shapes and options alone.
#pragma once

#include <cstddef>
#include <type_traits>

#include "runtime/base/error.h"
#include "runtime/device/context.h"
#include "runtime/ops/op_observer.h"
#include "runtime/tensor/tensor.h"

/// Declares the bodies of an op beside its contract.
#define TRIREME_OP_BODIES(name, ...) \
  namespace cpu {                    \
  void name(__VA_ARGS__);            \
  }                                  \
  namespace cuda {                   \
  void name(__VA_ARGS__);            \
  }

/// Calls the body for the context's device, on which all tensors have to lie. `work` is an OpWork.
#define TRIREME_DISPATCH_WORK(work, name, ctx, ...)                                                         \
  ::trireme::ops::run_op(                                                                                   \
      #name, (ctx), work,                                                                                   \
      [&] {                                                                                                 \
        (ctx).device().type == ::trireme::DeviceType::cpu ? ::trireme::ops::cpu::name((ctx), __VA_ARGS__)   \
                                                          : ::trireme::ops::cuda::name((ctx), __VA_ARGS__); \
      },                                                                                                    \
      __VA_ARGS__)

/// The same for ops that bring each operand from or to memory once.
#define TRIREME_DISPATCH(name, ctx, ...) TRIREME_DISPATCH_WORK(::trireme::OpWork{}, name, ctx, __VA_ARGS__)

namespace trireme::ops {

/// Columns [begin, begin + count) of a [rows, width] matrix: how packed projections are read and written in
/// place, and matrices whose rows lie further apart than they are long. Ops neither read nor write the other
/// columns. A tensor stands for all its columns; an undefined one for "absent".
struct Columns {
  Tensor matrix;
  int64_t begin = 0;
  int64_t count = 0;

  Columns() = default;
  Columns(const Tensor& whole) : matrix(whole), count(whole.shape().rank() == 2 ? whole.dim(1) : 0) {}
  Columns(const Tensor& of, int64_t first, int64_t num) : matrix(of), begin(first), count(num) {}

  explicit operator bool() const { return static_cast<bool>(matrix); }
  int64_t rows() const { return matrix.dim(0); }
  int64_t stride() const { return matrix.dim(1); }
  DType dtype() const { return matrix.dtype(); }
  bool is_whole() const { return count == stride(); }
  /// Where a row begins; T must be the dtype's type.
  template <class T>
  T* row(int64_t r) const {
    return matrix.data<T>() + r * stride() + begin;
  }
  template <class T>
  T* data() const {
    return matrix.data<T>() + begin;
  }
  void* raw() const {
    return static_cast<std::byte*>(matrix.raw()) + begin * static_cast<int64_t>(size_of(dtype()));
  }
  /// Rows [from, to).
  Columns slice(int64_t from, int64_t to) const { return {matrix.slice(from, to), begin, count}; }
};

/// Which rows (of logits: columns) of a vocabulary a tensor holds: those from `first` on, of `total`.
struct TablePart {
  int64_t first = 0;
  int64_t total = 0;
};

/// Checks used by every op; the message names the op, the argument and what it has.
void expect_shape(const char* op, const char* argument, const Tensor& t, const Shape& shape);
void expect_dtype(const char* op, const char* argument, const Tensor& t, DType dtype);
void expect_compute_type(const char* op, const char* argument, const Tensor& t);
/// Columns of a matrix, of whatever size.
void expect_matrix(const char* op, const char* argument, const Columns& c);
void expect_columns(const char* op, const char* argument, const Columns& c, int64_t rows, int64_t count);

/// Every tensor among the arguments lies on `device`; called for all ops by run_op.
void expect_on_device(const char* op, Device device, const Tensor& t);
template <class... Arguments>
void expect_device(const char* op, Device device, const Arguments&... arguments) {
  const auto look = [&]<class T>(const T& argument) {
    if constexpr (std::is_same_v<T, Tensor>) expect_on_device(op, device, argument);
    if constexpr (std::is_same_v<T, Columns>) expect_on_device(op, device, argument.matrix);
    if constexpr (requires { argument.values; }) expect_on_device(op, device, argument.values);
  };
  (look(arguments), ...);
}

/// take(Shape, DType) for each tensor among the arguments of an op, absent ones left out.
template <class Take, class... Arguments>
void for_each_operand(const Take& take, const Arguments&... arguments) {
  const auto look = [&]<class T>(const T& argument) {
    if constexpr (std::is_same_v<T, Tensor>) {
      if (argument) take(argument.shape(), argument.dtype());
    }
    if constexpr (std::is_same_v<T, Columns>) {
      if (argument) take(Shape{argument.rows(), argument.count}, argument.dtype());
    }
    if constexpr (requires { argument.values; }) take(argument.values.shape(), argument.values.dtype());
  };
  (look(arguments), ...);
}

/// Bytes of the elements of all of these, absent ones left out; for OpWork.
template <class... Arguments>
double bytes_of(const Arguments&... arguments) {
  int64_t bytes = 0;
  for_each_operand(
      [&](const Shape& shape, DType dtype) { bytes += shape.numel() * static_cast<int64_t>(size_of(dtype)); },
      arguments...);
  return static_cast<double>(bytes);
}

/// Calls the body and tells the context's observer, where there is one; of TRIREME_DISPATCH.
template <class Body, class... Arguments>
void run_op(const char* op, Context& ctx, const OpWork& work, const Body& body,
            const Arguments&... arguments) {
  expect_device(op, ctx.device(), arguments...);
  OpObserver* observer = ctx.op_observer();
  if (observer == nullptr) return body();
  OpCall call{op, {}, work.flops, work.bytes >= 0 ? work.bytes : bytes_of(arguments...)};
  call.bytes += work.rewritten_bytes;
  for_each_operand(
      [&](const Shape& shape, DType dtype) {
        call.operands.push_back({shape, dtype});
      },
      arguments...);
  observer->begin(ctx, call);
  body();
  observer->end(ctx);
}

}  // namespace trireme::ops
