#include "parallel/pruning/pruner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "parallel/module/local_ranges.h"
#include "parallel/pruning/places.h"
#include "parallel/pruning/prune_schedule.h"
#include "parallel/pruning/selection.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

Pruner::Pruner(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
               std::vector<StateBuffer> moments, bool adamw_keeps_zeros, const PruneConfig& config,
               Prunable prunable)
    : parallel_(parallel),
      storage_(storage),
      adamw_keeps_zeros_(adamw_keeps_zeros),
      config_(config),
      prunable_(std::move(prunable)) {
  const bool has_vectors = config.unit != PruneUnit::weight;
  for (const ParameterGroup& group : storage.groups()) {
    if (group.settings.frozen || !(group.matrices || has_vectors)) continue;
    Group& own = groups_.emplace_back();
    own.group = &group;
    own.mask = Tensor::empty(ctx, {group.numel / group.num_shards}, DType::u8, MemoryCategory::optimizer);
    ops::write(ctx, std::vector<uint8_t>(static_cast<size_t>(own.mask.numel()), 0), own.mask);
    for (const StateBuffer& state : moments) {
      if (state.group == &group) own.moments.push_back(state.values);
    }
  }
  for (size_t i = 0; i < prunable_.matrices.size(); ++i) {
    matrix_of_[prunable_.matrices[i].name] = i;
    num_weights_ += prunable_.matrices[i].shape.numel();
  }
  size_t first_unit = 0;
  for (const UnitSet& set : prunable_.sets) {
    for (const UnitPart& part : set.parts) parts_of_[part.parameter].push_back({first_unit, &part});
    first_unit += static_cast<size_t>(set.num_units);
  }
}

const Pruner::Group* Pruner::find(const ParameterGroup& group) const {
  const auto it = std::ranges::find(groups_, &group, &Group::group);
  return it == groups_.end() ? nullptr : &*it;
}

bool Pruner::is_prunable(const ParameterView& view) const {
  return find(*view.group) != nullptr &&
         (matrix_of_.contains(view.parameter->name) || parts_of_.contains(view.parameter->name));
}

Communicator& Pruner::width_of(const Parameter& p) const {
  return p.expert >= 0 ? parallel_.expert_tensor() : parallel_.tensor();
}

bool Pruner::counts(const ParameterView& view) const {
  return !view.parameter->is_tied_copy && parallel_.replicas(view.group->kind()).all().rank() == 0 &&
         width_of(*view.parameter).rank() == 0;
}

std::vector<float> Pruner::scores_of(Context& ctx, const ParameterView& view) const {
  const Parameter& p = *view.parameter;
  const ParameterGroup& group = *view.group;
  std::vector<float> whole(static_cast<size_t>(p.global_shape.numel()), 0.0f);
  Communicator& width = width_of(p);
  const Tensor& values = group.master ? group.master : group.weights;
  const LocalRange from = own_range(view, extent_of(group, values)),
                   masked = own_range(view, BufferExtent::sharded);
  if (width.rank() % p.num_copies == 0 && !from.empty()) {
    const std::vector<float> own = ops::to_host_f32(ctx, from.in(values));
    const std::vector<uint8_t> mask = ops::to_host<uint8_t>(ctx, masked.in(find(group)->mask));
    const int64_t columns = width_of_whole(p);
    for_each_place(from, [&](size_t i, int64_t row, int64_t column) {
      whole[static_cast<size_t>(row * columns + column)] = mask[i] != 0 ? kPruned : std::abs(own[i]);
    });
  }
  // Every element is on one rank, zeros elsewhere: nothing is rounded.
  const Tensor sum = Tensor::borrow(whole.data(), {p.global_shape.numel()}, DType::f32);
  if (group.num_shards > 1) parallel_.replicas(group.kind()).shard().all_reduce(ctx.host_stream(), sum);
  if (width.size() > 1) width.all_reduce(ctx.host_stream(), sum);
  return whole;
}

void Pruner::write_mask(Context& ctx, const ParameterView& view, std::span<const float> scores) const {
  const LocalRange own = own_range(view, BufferExtent::sharded);
  if (own.empty()) return;
  std::vector<uint8_t> mask(static_cast<size_t>(own.size()));
  const int64_t columns = width_of_whole(*view.parameter);
  for_each_place(own, [&](size_t i, int64_t row, int64_t column) {
    mask[i] = is_pruned(scores[static_cast<size_t>(row * columns + column)]) ? 1 : 0;
  });
  ops::write(ctx, mask, own.in(find(*view.group)->mask));
}

void Pruner::sum_over_world(Context& ctx, std::span<int64_t> numbers) const {
  if (numbers.empty()) return;
  parallel_.world().all_reduce(ctx.host_stream(),
                               Tensor::borrow(numbers.data(), {std::ssize(numbers)}, DType::i64));
}

bool Pruner::begin(Context& ctx, int64_t updates) {
  num_zero_ = count_zeros(ctx);
  const bool keeps = config_.keeps_zeros && num_zero_ == 0;
  if (keeps) keep_zeros(ctx);
  const double factor = schedule_factor(config_, updates);
  if (factor > 0) choose(ctx, factor);
  if (keeps || factor > 0) apply(ctx);
  return keeps || factor > 0;
}

bool Pruner::choose_after(Context& ctx, int64_t updates, const Tensor& gradient_scale) {
  is_due_ = is_due_ || chooses_after(config_, updates);
  if (!is_due_ || !std::isfinite(ops::value_of<float>(ctx, gradient_scale))) return false;
  is_due_ = false;
  choose(ctx, schedule_factor(config_, updates));
  apply(ctx);
  return true;
}

void Pruner::keep_zeros(Context& ctx) const {
  for (const ParameterView& view : storage_.parameters()) {
    if (find(*view.group) == nullptr || !matrix_of_.contains(view.parameter->name)) continue;
    std::vector<float> scores = scores_of(ctx, view);
    for (float& score : scores) {
      if (score == 0) score = kPruned;
    }
    write_mask(ctx, view, scores);
  }
}

void Pruner::choose(Context& ctx, double factor) const {
  const double part = config_.of > 0 ? factor : config_.sparsity * factor;
  if (config_.unit != PruneUnit::weight) return choose_units(ctx, part);
  if (config_.budget == PruneBudget::global) return choose_of_all(ctx, part);
  choose_of_matrices(ctx, part);
}

void Pruner::apply(Context& ctx) {
  for (const Group& own : groups_) {
    const ParameterGroup& group = *own.group;
    for (const ParameterBucket& bucket : group.buckets) {
      const Tensor mask = group.own_shard(bucket, own.mask);
      const auto zero = [&](const Tensor& buffer) {
        ops::zero_where(ctx, mask, group.own_shard(bucket, buffer));
      };
      if (group.master) zero(group.master);
      if (group.weights.raw() != group.master.raw()) zero(group.weights);
      for (const Tensor& moment : own.moments) zero(moment);
    }
  }
  storage_.forget_whole_weights();
  num_zero_ = count_zeros(ctx);
}

int64_t Pruner::count_zeros(Context& ctx) const {
  int64_t count = 0;
  for (const ParameterView& view : storage_.parameters()) {
    const Group* group = find(*view.group);
    const Parameter& p = *view.parameter;
    if (group == nullptr || !matrix_of_.contains(p.name) || p.is_tied_copy) continue;
    const ReplicaGroups& replicas = parallel_.replicas(view.group->kind());
    const bool is_first =
        view.group->num_shards == 1 ? replicas.all().rank() == 0 : replicas.replicate().rank() == 0;
    const LocalRange own = own_range(view, BufferExtent::sharded);
    if (!is_first || width_of(p).rank() % p.num_copies != 0 || own.empty()) continue;
    const std::vector<uint8_t> mask = ops::to_host<uint8_t>(ctx, own.in(group->mask));
    count += std::ssize(mask) - std::ranges::count(mask, uint8_t{0});
  }
  sum_over_world(ctx, {&count, 1});
  return count;
}

void Pruner::mask_gradients(Context& ctx) const {
  for (const Group& own : groups_) {
    for (const ParameterBucket& bucket : own.group->buckets)
      ops::zero_where(ctx, own.group->own_shard(bucket, own.mask),
                      own.group->own_shard(bucket, own.group->gradients));
  }
}

void Pruner::mask_updated(Context& ctx, const ParameterGroup& group, const ParameterBucket& bucket) const {
  const Group* own = find(group);
  // AdamW leaves a zero without gradient and moments where it is, unless it divides by an epsilon of 0.
  const bool stays = group.settings.optimizer == OptimizerKind::adamw && adamw_keeps_zeros_;
  if (own == nullptr || stays) return;
  const Tensor mask = group.own_shard(bucket, own->mask);
  if (group.master) ops::zero_where(ctx, mask, group.own_shard(bucket, group.master));
  if (group.weights.raw() != group.master.raw())
    ops::zero_where(ctx, mask, group.own_shard(bucket, group.weights));
}

std::vector<StateBuffer> Pruner::state() const {
  std::vector<StateBuffer> state;
  for (const Group& own : groups_) state.push_back({"pruned", own.group, own.mask});
  return state;
}

double Pruner::part_zero() const {
  return num_weights_ == 0 ? 0 : static_cast<double>(num_zero_) / static_cast<double>(num_weights_);
}

}  // namespace trireme
