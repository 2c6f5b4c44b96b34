#include "parallel/module/parameter_storage.h"

#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/random.h"

namespace trireme {

namespace {
constexpr int64_t kAlignment = 32;  // elements: 64 bytes of a 16-bit type, a cache line and a vector
}

ParameterStorage::ParameterStorage(Context& ctx, std::span<ParameterBlock* const> blocks,
                                   DType compute_type) {
  groups_.reserve(2);
  add_group(ctx, blocks, true, compute_type);
  add_group(ctx, blocks, false, DType::f32);

  std::unordered_map<const ParameterBlock*, std::pair<const ParameterGroup*, int64_t>> where;
  for (const ParameterGroup& group : groups_) {
    for (const auto& place : group.places) where[place.block] = {&group, place.begin};
  }
  for (const ParameterBlock* block : blocks) {
    auto [group, at] = where.at(block);
    for (const Parameter& p : block->members) {
      parameters_.push_back(
          {&p, group->master.flat_slice(at, p.shape), group->gradients.flat_slice(at, p.shape)});
      at += p.shape.numel();
    }
  }
}

void ParameterStorage::add_group(Context& ctx, std::span<ParameterBlock* const> blocks, bool matrices,
                                 DType compute_type) {
  ParameterGroup group;
  group.matrices = matrices;
  for (auto it = blocks.rbegin(); it != blocks.rend(); ++it) {
    if ((*it)->is_matrix() != matrices) continue;
    group.places.push_back({*it, group.numel});
    group.numel += ((*it)->shape().numel() + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (group.places.empty()) return;
  const Shape flat{group.numel};
  group.weights = Tensor::empty(ctx, flat, compute_type, MemoryCategory::weights);
  group.master = compute_type == DType::f32 ? group.weights
                                            : Tensor::empty(ctx, flat, DType::f32, MemoryCategory::optimizer);
  group.gradients = Tensor::empty(ctx, flat, DType::f32, MemoryCategory::gradients);
  ops::fill(ctx, group.master, 0);
  ops::fill(ctx, group.weights, 0);
  ops::fill(ctx, group.gradients, 0);
  for (const auto& place : group.places) {
    place.block->weight = group.weights.flat_slice(place.begin, place.block->shape());
    place.block->gradient = group.gradients.flat_slice(place.begin, place.block->shape());
  }
  groups_.push_back(std::move(group));
}

void ParameterStorage::initialize(Context& ctx, uint64_t seed) {
  for (const ParameterView& view : parameters_) {
    const Parameter& p = *view.parameter;
    if (p.init_std == 0) {
      ops::fill(ctx, view.master, p.init_mean);
    } else {
      ops::fill_normal(ctx, view.master, seed, p.name, p.global_shape, p.offset, p.init_mean, p.init_std);
    }
  }
  refresh_weights(ctx);
}

void ParameterStorage::zero_gradients(Context& ctx) {
  for (const ParameterGroup& group : groups_) ops::fill(ctx, group.gradients, 0);
}

void ParameterStorage::refresh_weights(Context& ctx) {
  for (const ParameterGroup& group : groups_) {
    if (group.weights.dtype() != DType::f32) ops::copy(ctx, group.master, group.weights);
  }
}

}  // namespace trireme
