// Tensors between the device and the host's vectors.
#pragma once

#include <cstring>
#include <deque>
#include <span>
#include <vector>

#include "runtime/ops/elementwise.h"

namespace trireme::ops {

/// Memory of the host that copies in flight read or write: a service of the context, which keeps it from new
/// users until they are done.
class CopiesInFlight {
 public:
  explicit CopiesInFlight(Context&) {}
  void keep(std::shared_ptr<std::byte> block, std::shared_ptr<Event> done) {
    while (!copies_.empty() && copies_.front().done->is_done()) copies_.pop_front();
    copies_.push_back({std::move(block), std::move(done)});
  }

 private:
  struct Copy {
    std::shared_ptr<std::byte> block;
    std::shared_ptr<Event> done;
  };
  std::deque<Copy> copies_;
};

/// The elements of a tensor on their way to the host: copied when the stream comes to them, while the caller
/// continues. T is the tensor's type.
template <class T>
class HostCopy {
 public:
  HostCopy(Context& ctx, const Tensor& t) : size_(static_cast<size_t>(t.numel())) {
    const auto bytes = static_cast<size_t>(t.bytes());
    block_ = ctx.host_allocator().allocate(bytes, MemoryCategory::buffers);
    ctx.stream().copy(block_.get(), t.data<T>(), bytes);
    done_ = ctx.stream().record();
    ctx.service<CopiesInFlight>().keep(block_, done_);
  }
  /// Waits for them.
  std::span<const T> values() const {
    done_->synchronize();
    return {reinterpret_cast<const T*>(block_.get()), size_};
  }

 private:
  size_t size_;
  std::shared_ptr<std::byte> block_;
  std::shared_ptr<Event> done_;
};

/// The elements of t, once the stream has come to them; waits for it. T is the tensor's type.
template <class T>
std::vector<T> to_host(Context& ctx, const Tensor& t) {
  std::vector<T> values(static_cast<size_t>(t.numel()));
  ctx.stream().copy(values.data(), t.data<T>(), static_cast<size_t>(t.bytes()));
  ctx.stream().synchronize();
  return values;
}

/// The elements of a tensor of any compute type in fp32.
inline std::vector<float> to_host_f32(Context& ctx, const Tensor& t) {
  if (t.dtype() == DType::f32) return to_host<float>(ctx, t);
  const Tensor wide = Tensor::empty(ctx, t.shape(), DType::f32, MemoryCategory::buffers);
  copy(ctx, t, wide);
  return to_host<float>(ctx, wide);
}

/// The only element.
template <class T>
T value_of(Context& ctx, const Tensor& t) {
  TRIREME_CHECK(t.numel() == 1, "{} read as one number", to_string(t.shape()));
  return to_host<T>(ctx, t)[0];
}

/// Gives t the values, which may go when the call returns. Nobody waits for the device. T is the tensor's
/// type.
template <class T>
void write(Context& ctx, const std::vector<T>& values, const Tensor& t) {
  TRIREME_CHECK(t.dtype() == DTypeOf<T>::value && t.numel() == static_cast<int64_t>(values.size()),
                "{} values of {} for {} of {}", values.size(), to_string(DTypeOf<T>::value),
                to_string(t.shape()), to_string(t.dtype()));
  if (values.empty()) return;
  const auto bytes = static_cast<size_t>(t.bytes());
  const auto block = ctx.host_allocator().allocate(bytes, MemoryCategory::buffers);
  std::memcpy(block.get(), values.data(), bytes);
  ctx.stream().copy(t.raw(), block.get(), bytes);
  ctx.service<CopiesInFlight>().keep(block, ctx.stream().record());
}

/// A tensor of the values. Nobody waits for the device.
template <class T>
Tensor to_device(Context& ctx, const std::vector<T>& values, const Shape& shape) {
  const Tensor t = Tensor::empty(ctx, shape, DTypeOf<T>::value, MemoryCategory::buffers);
  write(ctx, values, t);
  return t;
}

}  // namespace trireme::ops
