#include "runtime/tensor/tensor.h"

#include "runtime/base/error.h"

namespace trireme {

Tensor Tensor::empty(Context& ctx, const Shape& shape, DType dtype, MemoryCategory category) {
  Tensor t;
  t.shape_ = shape;
  t.numel_ = shape.numel();
  t.dtype_ = dtype;
  t.device_ = ctx.device();
  t.storage_ = ctx.allocator().allocate(static_cast<size_t>(t.bytes()), category);
  return t;
}

Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, Device device) {
  return share({static_cast<std::byte*>(data), [](std::byte*) {}}, shape, dtype, device);
}

Tensor Tensor::share(std::shared_ptr<std::byte> memory, const Shape& shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.numel_ = shape.numel();
  t.dtype_ = dtype;
  t.device_ = device;
  t.storage_ = std::move(memory);
  return t;
}

Tensor Tensor::view(const Shape& shape) const {
  TRIREME_CHECK(shape.numel() == numel_, "{} viewed as {}", to_string(shape_), to_string(shape));
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  TRIREME_CHECK(shape_.rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0], "rows {} to {} of {}",
                begin, end, to_string(shape_));
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::copy(shape_.dims().begin(), shape_.dims().end(), dims.begin());
  const int64_t row = shape_[0] == 0 ? 0 : numel_ / shape_[0];
  dims[0] = end - begin;
  return flat_slice(begin * row,
                    Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(shape_.rank()))));
}

Tensor Tensor::flat_slice(int64_t begin, const Shape& shape) const {
  TRIREME_CHECK(begin >= 0 && begin + shape.numel() <= numel_, "{} elements from {} of {}", shape.numel(),
                begin, to_string(shape_));
  Tensor t = *this;
  t.storage_ = {storage_, storage_.get() + begin * static_cast<int64_t>(size_of(dtype_))};
  t.shape_ = shape;
  t.numel_ = shape.numel();
  return t;
}

void Tensor::check_type(DType asked) const {
  TRIREME_CHECK(asked == dtype_, "{} data read as {}", to_string(dtype_), to_string(asked));
}

}  // namespace trireme
