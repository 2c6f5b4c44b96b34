// Tensor: a contiguous, row-major view into shared storage.
#pragma once

#include <memory>

#include "runtime/device/context.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// Copies share storage. A default-constructed tensor is undefined: no storage, false in a condition.
class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised memory of the context's device.
  static Tensor empty(Context& ctx, const Shape& shape, DType dtype,
                      MemoryCategory category = MemoryCategory::activations);
  /// Memory that belongs to somebody else and outlives the tensor and all its copies.
  static Tensor borrow(void* data, const Shape& shape, DType dtype, Device device = {});

  /// Memory that the tensor and its copies share with others; on the host unless a device is named.
  static Tensor share(std::shared_ptr<std::byte> memory, const Shape& shape, DType dtype, Device device = {});

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t numel() const { return numel_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t bytes() const { return numel_ * static_cast<int64_t>(size_of(dtype_)); }

  void* raw() const { return storage_.get(); }
  /// The elements; T must be the dtype's type. A device pointer on CUDA.
  template <class T>
  T* data() const {
    check_type(DTypeOf<T>::value);
    return reinterpret_cast<T*>(storage_.get());
  }

  /// The same elements in another shape.
  Tensor view(const Shape& shape) const;
  /// Rows [begin, end) along the outermost dim.
  Tensor slice(int64_t begin, int64_t end) const;
  /// Elements [begin, begin + shape.numel()) of the flattened tensor as a tensor of the given shape.
  Tensor flat_slice(int64_t begin, const Shape& shape) const;

 private:
  void check_type(DType asked) const;

  std::shared_ptr<std::byte> storage_;
  Shape shape_;
  int64_t numel_ = 0;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace trireme
