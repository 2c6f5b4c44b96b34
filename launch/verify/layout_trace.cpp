#include "launch/verify/layout_trace.h"

#include <fmt/format.h>

#include "runtime/ops/host_copy.h"

namespace trireme {

LayoutTrace::LayoutTrace(const ParallelContext& parallel, const Transformer& model, int64_t num_micro_batches)
    : parallel_(parallel),
      placement_(model.placement()),
      num_layers_(static_cast<size_t>(placement_.back())),
      sums_(static_cast<size_t>(num_micro_batches) * 2 * num_layers_, 0.0) {}

void LayoutTrace::enter(int64_t index, const MicroBatch& mb, int stage) {
  // Replicas take micro-batches in turn.
  micro_batch_ = static_cast<size_t>(index * parallel_.data().size() + parallel_.data().rank());
  first_layer_ = static_cast<size_t>(placement_[static_cast<size_t>(stage)]);
  counts_ = TensorParallel(parallel_).divides_rows(mb) || parallel_.tensor().rank() == 0;
}

void LayoutTrace::after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) {
  note(ctx, first_layer_ + layer.index, true, y);
}

void LayoutTrace::after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) {
  note(ctx, first_layer_ + layer.index, false, dx);
}

void LayoutTrace::note(Context& ctx, size_t place, bool is_forward, const Tensor& t) {
  if (!t || !counts_) return;
  const Tensor sum = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  Tensor wide = t;
  if (t.dtype() != DType::f32) {
    wide = Tensor::empty(ctx, t.shape(), DType::f32, MemoryCategory::buffers);
    ops::copy(ctx, t, wide);
  }
  ops::fill(ctx, sum, 0);
  ops::add_sum_of_squares(ctx, wide, sum);
  const size_t position = is_forward ? place : 2 * num_layers_ - 1 - place;
  // A recomputed forward pass gives the same again.
  sums_[micro_batch_ * 2 * num_layers_ + position] = ops::value_of<double>(ctx, sum);
}

std::vector<double> LayoutTrace::take(Context& ctx) {
  std::vector<double> all(sums_.size(), 0.0);
  all.swap(sums_);
  parallel_.world().all_reduce(ctx.host_stream(),
                               Tensor::borrow(all.data(), {static_cast<int64_t>(all.size())}, DType::f64));
  return all;
}

std::string trace_place(size_t index, int64_t num_layers) {
  const size_t length = static_cast<size_t>(num_layers) + 2;
  const size_t micro_batch = index / (2 * length), position = index % (2 * length);
  const bool is_forward = position < length;
  const size_t layer = is_forward ? position : 2 * length - 1 - position;
  const std::string name = layer == 0            ? "embedding"
                           : layer == length - 1 ? "head"
                                                 : fmt::format("layers.{}", layer - 1);
  return fmt::format("micro-batch {}, {}, {}", micro_batch, is_forward ? "forward" : "backward", name);
}

}  // namespace trireme
