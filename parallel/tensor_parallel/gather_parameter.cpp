#include "parallel/tensor_parallel/gather_parameter.h"

#include <array>

#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// Where a block lies in its tensor seen as a matrix; a vector is a matrix of one column.
using Place = std::array<int64_t, 4>;  // first row, first column, rows, columns

Place place_of(const Parameter& p) {
  const bool matrix = p.shape.rank() > 1;
  return {p.offset[0], matrix ? p.offset[1] : 0, p.shape[0], matrix ? p.shape[1] : 1};
}

void paste(Context& ctx, const Tensor& block, const Place& place, const Tensor& whole) {
  const auto [row, column, rows, columns] = place;
  const int64_t width = whole.numel() / whole.dim(0);
  const Tensor target = whole.view({whole.dim(0), width}).slice(row, row + rows);
  ops::copy_columns(ctx, {block.view({rows, columns}), 0, columns}, {target, column, columns});
}

}  // namespace

Tensor gather_parameter(Context& ctx, Communicator& tensor, const Parameter& p, const Tensor& block) {
  TRIREME_CHECK(p.shape.rank() <= 2 || p.shape[2] == 1, "{} is {}", p.name, to_string(p.shape));
  if (p.num_copies == tensor.size()) return tensor.rank() == 0 ? block : Tensor();
  Place place = place_of(p);
  const Tensor message = Tensor::borrow(place.data(), {4}, DType::i64);
  if (tensor.rank() != 0) {
    if (tensor.rank() % p.num_copies != 0) return {};
    tensor.send(ctx.host_stream(), message, 0);
    tensor.send(ctx.stream(), block, 0);
    return {};
  }
  const Tensor whole = Tensor::empty(ctx, p.global_shape, block.dtype(), MemoryCategory::buffers);
  paste(ctx, block, place, whole);
  for (int rank = p.num_copies; rank < tensor.size(); rank += p.num_copies) {
    tensor.receive(ctx.host_stream(), message, rank);
    const Tensor part = Tensor::empty(ctx, {place[2], place[3]}, block.dtype(), MemoryCategory::buffers);
    tensor.receive(ctx.stream(), part, rank);
    paste(ctx, part, place, whole);
  }
  return whole;
}

}  // namespace trireme
