#include "models/cost/state_memory.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "models/spec/describe_parameters.h"
#include "models/spec/memory_trace.h"
#include "models/spec/weight_holders.h"
#include "parallel/data_parallel/buckets_in_flight.h"
#include "parallel/module/flat_layout.h"

namespace trireme {

namespace {

// The place of the rank with the largest share.
RankShare largest_share(const ParallelPlan& plan) {
  const auto last = [](int size) { return GroupShare{size - 1, size}; };
  return {.tensor = last(plan.tensor),
          .sequence = plan.sequence,
          .experts = last(plan.expert),
          .expert_tensor = last(plan.expert_tensor_ranks())};
}

/// What storage has of a block: the place and the bucket in its group.
struct Placed {
  size_t group, bucket;
};

/// ParameterStorage in numbers.
struct Storage {
  std::vector<FlatGroup> groups;
  std::vector<Placed> placed;  // one per block
  std::vector<std::vector<int>> blocks_of_bucket;

  Storage(const std::vector<StateBlock>& blocks, const ShardingSpec& sharding) : placed(blocks.size()) {
    std::vector<BlockSize> sizes;
    for (const StateBlock& block : blocks)
      sizes.push_back(
          {block.numel, block.layer, block.holders, block.is_matrix, block.is_expert, block.settings});
    groups = flat_layout(sizes, sharding);
    for (size_t g = 0; g < groups.size(); ++g) {
      blocks_of_bucket.emplace_back(groups[g].buckets.size(), 0);
      for (const auto& place : groups[g].places) {
        placed[place.block] = {g, place.bucket};
        ++blocks_of_bucket[g][place.bucket];
      }
    }
  }
  /// Bytes of the bucket of a block, where its group is sharded; else 0.
  int64_t bucket_bytes(const Placed& at, DType dtype) const {
    const FlatGroup& group = groups[at.group];
    return group.num_shards == 1 ? 0 : block_bytes(group.buckets[at.bucket].numel(), dtype);
  }
};

/// The blocks that each layer of the model uses, of those that the stage holds.
std::vector<std::vector<size_t>> blocks_of_layers(const MemoryInputs& in,
                                                  const std::vector<StateBlock>& blocks) {
  std::vector<std::vector<size_t>> of_layer(static_cast<size_t>(in.model.num_layers) + 2);
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (const int64_t layer : blocks[i].users) of_layer[static_cast<size_t>(layer)].push_back(i);
  }
  return of_layer;
}

/// The backward passes of a step with gradients that live in buckets (ZeRO 2): GradientReducer in numbers.
class BucketsInUse {
 public:
  BucketsInUse(const MemoryInputs& in, const std::vector<StateBlock>& blocks, const Storage& storage)
      : in_(in),
        blocks_(blocks),
        storage_(storage),
        limit_(in.plan.overlap ? kMaxBucketsInFlight : 0),
        of_layer_(blocks_of_layers(in, blocks)) {
    for (const FlatGroup& group : storage.groups) states_.emplace_back(group.buckets.size());
    for (const StateBlock& block : blocks) users_left_.push_back(std::ssize(block.users));
  }

  /// The most bytes at one time.
  int64_t peak() {
    const auto schedule = schedule_of(in_);
    std::vector<int> backwards_left(static_cast<size_t>(schedule->num_chunks), schedule->num_micro_batches);
    for (const Action& action : schedule->actions_of_stage[static_cast<size_t>(in_.stage)]) {
      const auto chunk = static_cast<size_t>(action.chunk);
      const bool whole = action.kind == ActionKind::backward,
                 weight = action.kind == ActionKind::backward_weight;
      if (!whole && !weight && action.kind != ActionKind::backward_input) continue;
      const bool completes = (whole || weight) && --backwards_left[chunk] == 0;
      const auto [begin, end] = in_.layers_of(chunk);
      for (int64_t layer = end; layer-- > begin;) {
        for (const size_t block : of_layer_[static_cast<size_t>(layer)]) {
          if (!weight) make(block);
        }
        for (const size_t block : of_layer_[static_cast<size_t>(layer)]) {
          if (completes && --users_left_[block] == 0) complete(block);
        }
      }
    }
    return peak_;
  }

 private:
  struct State {
    bool exists = false;
    int num_complete = 0;
  };
  State& state_of(size_t block) {
    return states_[storage_.placed[block].group][storage_.placed[block].bucket];
  }
  void make(size_t block) {
    if (blocks_[block].settings.frozen || std::exchange(state_of(block).exists, true)) return;
    current_ += storage_.bucket_bytes(storage_.placed[block], DType::f32);
    peak_ = std::max(peak_, current_);
  }
  void complete(size_t block) {
    // Other stages add to the gradients of blocks that they hold too until the end of the step.
    if (blocks_[block].holders != 0 || blocks_[block].settings.frozen) return;
    const auto& [group, bucket] = storage_.placed[block];
    if (++state_of(block).num_complete < storage_.blocks_of_bucket[group][bucket]) return;
    in_flight_.push_back(storage_.bucket_bytes({group, bucket}, DType::f32));
    for (; in_flight_.size() > limit_; in_flight_.pop_front()) current_ -= in_flight_.front();
  }

  const MemoryInputs& in_;
  const std::vector<StateBlock>& blocks_;
  const Storage& storage_;
  size_t limit_;
  std::vector<std::vector<size_t>> of_layer_;  // blocks that a layer uses
  std::vector<int64_t> users_left_;            // of a block, until its gradient is complete
  std::vector<std::vector<State>> states_;
  std::deque<int64_t> in_flight_;
  int64_t current_ = 0, peak_ = 0;
};

/// Weights that are whole at one time besides the parts (ZeRO 3): of a layer and, with overlap, the next;
/// what both use once.
int64_t whole_weights(const MemoryInputs& in, const std::vector<StateBlock>& blocks, const Storage& storage) {
  using Buckets = std::map<std::pair<size_t, size_t>, int64_t>;  // bytes
  const auto of_layer = blocks_of_layers(in, blocks);
  const auto add = [&](size_t layer, Buckets& buckets) {
    for (const size_t i : of_layer[layer]) {
      const Placed& at = storage.placed[i];
      if (storage.groups[at.group].shards_weights)
        buckets[{at.group, at.bucket}] = storage.bucket_bytes(at, in.precision);
    }
  };
  int64_t most = 0;
  for (size_t i = 0; i < of_layer.size(); ++i) {
    Buckets whole;
    add(i, whole);
    if (in.plan.overlap && i + 1 < of_layer.size()) add(i + 1, whole);
    int64_t bytes = 0;
    for (const auto& [bucket, size] : whole) bytes += size;
    most = std::max(most, bytes);
  }
  return most;
}

ShardingSpec with_experts(const MemoryInputs& in) {
  ShardingSpec sharding = in.sharding;
  if (sharding.zero_stage > 0) sharding.num_expert_shards = in.plan.expert_shard_ranks();
  return sharding;
}

}  // namespace

std::vector<StateBlock> state_blocks(const MemoryInputs& in) {
  const ModelSpec spec = spec_of(in.model);
  const ParameterDescription parameters(spec, largest_share(in.plan));
  const std::vector<ParameterRule>& rules = in.sharding.rules;
  std::vector<StateBlock> blocks;
  const auto add = [&](int64_t layer, auto of_layer) {
    if (!in.holds(layer)) return;
    ParameterBlocks described;
    of_layer.collect(described);
    for (const ParameterBlock* block : described) {
      int64_t numel = 0, partial = 0;
      for (const Parameter& p : block->members) {
        numel += p.shape.numel();
        if (p.is_gradient_partial && p.num_copies > 1) partial += p.shape.numel();
      }
      blocks.push_back({layer,
                        {layer},
                        0,
                        block->is_matrix(),
                        block->is_of_experts(),
                        numel,
                        partial,
                        settings_of_block(*block, rules)});
    }
  };
  const WeightHolders holders(spec, in.placement, in.plan.pipeline);
  std::map<int64_t, int64_t> first_here;  // of the layers that share weights, by the first of the model
  add(0, parameters.embedding());
  if (in.holds(0)) blocks.front().holders = holders.set_of(0);
  // Blocks that are alike have blocks that are alike; a large model has few different ones. Rules may tell
  // them apart by name.
  const bool named =
      std::ranges::any_of(rules, [](const ParameterRule& rule) { return rule.pattern != "*"; });
  std::vector<std::pair<const BlockSpec*, std::pair<size_t, size_t>>> known;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    if (!in.holds(1 + i)) continue;
    const auto [first, is_new] = first_here.try_emplace(holders.first_user(1 + i), 1 + i);
    if (!is_new) {
      for (StateBlock& block : blocks) {
        if (block.layer == first->second) block.users.push_back(1 + i);
      }
      continue;
    }
    const BlockSpec& block = spec.blocks[static_cast<size_t>(i)];
    const auto like = std::ranges::find_if(known, [&](const auto& k) { return k.first->is_like(block); });
    const size_t begin = blocks.size();
    if (named || like == known.end()) {
      add(1 + i, parameters.block(spec.weights_of(i)));  // by whose name rules know it
      known.push_back({&block, {begin, blocks.size()}});
    } else {
      for (size_t k = like->second.first; k < like->second.second; ++k) blocks.push_back(blocks[k]);
    }
    for (size_t k = begin; k < blocks.size(); ++k) {
      blocks[k].layer = 1 + i;
      blocks[k].users = {1 + i};
      blocks[k].holders = holders.set_of(holders.first_user(1 + i));
    }
  }
  const int64_t head = 1 + spec.num_blocks();
  const bool reads_embedding = in.holds(0);
  add(head, parameters.head(reads_embedding));
  if (!spec.head.tied || !in.holds(head)) return blocks;
  StateBlock& table = reads_embedding ? blocks.front() : blocks.back();
  table.holders = holders.set_of(0);
  if (reads_embedding) table.users.push_back(head);
  return blocks;
}

void estimate_state(const MemoryInputs& in, const std::vector<StateBlock>& blocks, MemoryEstimate& estimate) {
  const ShardingSpec sharding = with_experts(in);
  const Storage storage(blocks, sharding);
  int64_t weights = 0, gradients = 0, optimizer = 0;
  for (const FlatGroup& group : storage.groups) {
    const auto numel = [&](int from_stage) {
      return sharding.zero_stage >= from_stage ? group.shard_numel() : group.numel;
    };
    const DType type = group.matrices ? in.precision : DType::f32;
    weights += block_bytes(group.shards_weights ? group.shard_numel() : group.numel, type);
    if (!group.settings.frozen) gradients += block_bytes(numel(2), DType::f32);
    const bool has_master = type != DType::f32 && sharding.master;
    optimizer +=
        ((has_master ? 1 : 0) + optimizer_state_floats(group.settings)) * block_bytes(numel(1), DType::f32);
    const bool has_mask =
        in.prune && !group.settings.frozen && (group.matrices || in.prune.unit != PruneUnit::weight);
    if (has_mask) optimizer += block_bytes(numel(1), DType::u8);
  }
  if (sharding.zero_stage >= 3) weights += whole_weights(in, blocks, storage);
  if (sharding.zero_stage >= 2) gradients += BucketsInUse(in, blocks, storage).peak();
  estimate[MemoryCategory::weights] = weights;
  estimate[MemoryCategory::gradients] = gradients;
  estimate[MemoryCategory::optimizer] = optimizer;
}

int64_t sent_gradients(const MemoryInputs& in, const std::vector<StateBlock>& blocks) {
  if (in.plan.gradient_dtype == DType::f32 || in.plan.gradient_ranks() == 1) return 0;
  const Storage storage(blocks, with_experts(in));
  // Shards that are summed over replicas too wait for the end of the step.
  const bool all_wait = in.sharding.num_shards > 1 && in.sharding.num_shards < in.plan.gradient_ranks();
  int64_t sum = 0, most = 0;
  std::deque<int64_t> in_flight;
  for (const FlatGroup& group : storage.groups) {
    if (group.settings.frozen) continue;
    for (const FlatBucket& bucket : group.buckets) {
      in_flight.push_back(block_bytes(bucket.numel(), in.plan.gradient_dtype));
      sum += in_flight.back();
      most = std::max(most, sum);
      for (; !all_wait && in_flight.size() > kMaxBucketsInFlight; in_flight.pop_front())
        sum -= in_flight.front();
    }
  }
  return most;
}

}  // namespace trireme
