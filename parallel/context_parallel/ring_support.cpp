#include "parallel/context_parallel/ring_support.h"

#include <utility>
#include <vector>

#include "runtime/ops/elementwise.h"

namespace trireme::ring {

Tensor buffer(Context& ctx, const Shape& shape, DType dtype) {
  return Tensor::empty(ctx, shape, dtype, MemoryCategory::buffers);
}

Tensor as_f32(Context& ctx, const Tensor& t) {
  if (t.dtype() == DType::f32) return t;
  const Tensor wide = buffer(ctx, t.shape(), DType::f32);
  ops::copy(ctx, t, wide);
  return wide;
}

Tensor pack(Context& ctx, std::initializer_list<ops::Columns> parts) {
  int64_t width = 0;
  for (const ops::Columns& part : parts) width += part.count;
  const Tensor packed = buffer(ctx, {parts.begin()->rows(), width}, parts.begin()->matrix.dtype());
  int64_t at = 0;
  for (const ops::Columns& part : parts) {
    ops::copy_columns(ctx, part, {packed, at, part.count});
    at += part.count;
  }
  return packed;
}

void unpack(Context& ctx, const Tensor& packed, std::initializer_list<ops::Columns> parts) {
  const DType dtype = parts.begin()->matrix.dtype();
  Tensor rounded = packed;
  if (packed.dtype() != dtype) {
    rounded = buffer(ctx, packed.shape(), dtype);
    ops::copy(ctx, packed, rounded);
  }
  int64_t at = 0;
  for (const ops::Columns& part : parts) {
    ops::copy_columns(ctx, {rounded, at, part.count}, part);
    at += part.count;
  }
}

void RankTransfer::start(const Tensor& outgoing, int to, const Shape& incoming, int from) {
  const auto size = static_cast<size_t>(group_.size());
  std::vector<int64_t> sent(size, 0), received(size, 0);
  sent[static_cast<size_t>(to)] = outgoing.numel();
  received[static_cast<size_t>(from)] = incoming.numel();
  outgoing_ = outgoing;
  incoming_ = buffer(ctx_, incoming, outgoing.dtype());
  work_ = group_.all_to_all_v_async(ctx_.stream(), outgoing, sent, incoming_, received);
}

Tensor RankTransfer::finish() {
  std::exchange(work_, nullptr)->wait();
  outgoing_ = Tensor();
  return std::exchange(incoming_, Tensor());
}

}  // namespace trireme::ring
