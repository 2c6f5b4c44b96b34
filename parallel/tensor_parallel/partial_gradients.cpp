#include "parallel/tensor_parallel/partial_gradients.h"

#include "runtime/ops/elementwise.h"

namespace trireme {

PartialGradients::PartialGradients(Communicator& tensor, std::span<ParameterBlock* const> blocks)
    : tensor_(tensor) {
  for (const ParameterBlock* block : blocks) {
    for (const Parameter& p : block->members) {
      const bool needs_group = p.is_gradient_partial && p.num_copies != tensor_.size();
      if (!needs_group || groups_.contains(p.num_copies)) continue;
      groups_[p.num_copies] = tensor_.split(tensor_.rank() / p.num_copies, tensor_.rank(), "tensor-copies");
    }
  }
}

void PartialGradients::sum(Context& ctx, std::span<ParameterBlock* const> blocks) {
  std::map<int, std::vector<Tensor>> gradients;  // by number of copies
  for (const ParameterBlock* block : blocks) {
    if (!block->gradient) continue;  // frozen
    int64_t at = 0;
    for (const Parameter& p : block->members) {
      if (p.is_gradient_partial && p.num_copies > 1) {
        gradients[p.num_copies].push_back(block->gradient.flat_slice(at, {p.shape.numel()}));
      }
      at += p.shape.numel();
    }
  }
  for (const auto& [num_copies, parts] : gradients) {
    int64_t numel = 0;
    for (const Tensor& part : parts) numel += part.numel();
    const Tensor packed = Tensor::empty(ctx, {numel}, DType::f32, MemoryCategory::buffers);
    const auto for_each_place = [&](auto&& f) {
      int64_t at = 0;
      for (const Tensor& part : parts) {
        f(part, packed.slice(at, at + part.numel()));
        at += part.numel();
      }
    };
    for_each_place([&](const Tensor& part, const Tensor& place) { ops::copy(ctx, part, place); });
    sharing(num_copies).all_reduce(ctx.stream(), packed);
    for_each_place([&](const Tensor& part, const Tensor& place) { ops::copy(ctx, place, part); });
  }
}

Communicator& PartialGradients::sharing(int num_copies) {
  return num_copies == tensor_.size() ? tensor_ : *groups_.at(num_copies);
}

}  // namespace trireme
