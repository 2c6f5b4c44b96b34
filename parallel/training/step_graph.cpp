#include "parallel/training/step_graph.h"

#include <algorithm>
#include <utility>

namespace trireme {

namespace {

bool same_sizes(const MicroBatch& a, const MicroBatch& b) {
  return a.batch == b.batch && a.seq_len == b.seq_len && a.context_parts == b.context_parts &&
         static_cast<bool>(a.first_key) == static_cast<bool>(b.first_key) &&
         static_cast<bool>(a.target_weights) == static_cast<bool>(b.target_weights);
}

// What of a micro-batch lies on the device and is another in each step.
constexpr Tensor MicroBatch::*kTensors[] = {&MicroBatch::tokens,         &MicroBatch::targets,
                                            &MicroBatch::target_weights, &MicroBatch::positions,
                                            &MicroBatch::first_key,      &MicroBatch::places};

MicroBatch with_own_tensors(Context& ctx, MicroBatch mb) {
  for (const auto tensor : kTensors) {
    Tensor& t = mb.*tensor;
    if (t) t = Tensor::empty(ctx, t.shape(), t.dtype(), MemoryCategory::buffers);
  }
  mb.chunk_first_keys.clear();  // what is sent is captured once
  return mb;
}

}  // namespace

void CapturedWork::run(Context& ctx, const std::function<void()>& work) {
  if (!std::exchange(is_prepared_, true)) return work();
  if (!graph_) graph_ = ctx.capture(work);
  graph_->launch(ctx.stream());
}

void CapturedWork::forget() {
  graph_.reset();
  is_prepared_ = false;
}

bool StepGraph::fits(std::span<const MicroBatch> micro_batches, double loss_scale) const {
  return loss_scale == loss_scale_ && std::ranges::equal(micro_batches, micro_batches_, same_sizes);
}

void StepGraph::run_passes(Context& ctx, std::span<const MicroBatch> micro_batches, double loss_scale,
                           const Passes& passes) {
  if (!fits(micro_batches, loss_scale)) {
    passes_.forget();
    micro_batches_.clear();
    for (const MicroBatch& mb : micro_batches) micro_batches_.push_back(with_own_tensors(ctx, mb));
    loss_scale_ = loss_scale;
  }
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    const MicroBatch &from = micro_batches[i], &to = micro_batches_[i];
    for (const auto tensor : kTensors) {
      const Tensor& values = from.*tensor;
      if (values) ctx.stream().copy((to.*tensor).raw(), values.raw(), static_cast<size_t>(values.bytes()));
    }
  }
  passes_.run(ctx, [&] { passes(micro_batches_); });
}

}  // namespace trireme
