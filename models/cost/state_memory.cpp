#include "models/cost/state_memory.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/spec/describe_parameters.h"
#include "models/spec/memory_trace.h"
#include "parallel/data_parallel/buckets_under_way.h"
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
  std::vector<Placed> placed;  // one a block
  std::vector<std::vector<int>> blocks_of_bucket;

  Storage(const std::vector<StateBlock>& blocks, const ShardingSpec& sharding) : placed(blocks.size()) {
    std::vector<BlockSize> sizes;
    for (const StateBlock& block : blocks)
      sizes.push_back({block.numel, block.layer, block.is_matrix, block.is_expert, block.settings});
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

/// The backward passes of a step with gradients that live in buckets (ZeRO 2): GradientReducer in numbers.
class BucketsInUse {
 public:
  BucketsInUse(const MemoryInputs& in, const std::vector<StateBlock>& blocks, const Storage& storage)
      : in_(in), blocks_(blocks), storage_(storage), limit_(in.plan.overlap ? kMostBucketsUnderWay : 0) {
    for (const FlatGroup& group : storage.groups) states_.emplace_back(group.buckets.size());
    // The copies of tied weights at a pipeline's ends wait for each other until the end of the step.
    if (!in.model.tied_embeddings || in.plan.pipeline == 1 || blocks.empty()) return;
    if (in.holds(0)) deferred_ = 0;
    if (in.holds(head())) deferred_ = blocks.size() - 1;
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
        const auto [first, last] = blocks_of(layer);
        for (size_t i = first; !weight && i < last; ++i) make(i);
        // A tied head adds to the gradient of the token table, the first block.
        const bool tied = in_.model.tied_embeddings && in_.plan.pipeline == 1 && layer == head();
        if (tied && !weight) make(0);
        for (size_t i = first; completes && i < last; ++i) complete(i);
      }
    }
    return peak_;
  }

 private:
  struct State {
    bool exists = false;
    int num_complete = 0;
  };
  int64_t head() const { return in_.model.num_layers + 1; }
  std::pair<size_t, size_t> blocks_of(int64_t layer) const {
    const auto range = std::ranges::equal_range(blocks_, layer, {}, &StateBlock::layer);
    return {static_cast<size_t>(range.begin() - blocks_.begin()),
            static_cast<size_t>(range.end() - blocks_.begin())};
  }
  State& state_of(size_t block) {
    return states_[storage_.placed[block].group][storage_.placed[block].bucket];
  }
  void make(size_t block) {
    if (blocks_[block].settings.frozen || std::exchange(state_of(block).exists, true)) return;
    current_ += storage_.bucket_bytes(storage_.placed[block], DType::f32);
    peak_ = std::max(peak_, current_);
  }
  void complete(size_t block) {
    if (deferred_ == block || blocks_[block].settings.frozen) return;
    const auto& [group, bucket] = storage_.placed[block];
    if (++state_of(block).num_complete < storage_.blocks_of_bucket[group][bucket]) return;
    under_way_.push_back(storage_.bucket_bytes({group, bucket}, DType::f32));
    for (; under_way_.size() > limit_; under_way_.pop_front()) current_ -= under_way_.front();
  }

  const MemoryInputs& in_;
  const std::vector<StateBlock>& blocks_;
  const Storage& storage_;
  size_t limit_;
  std::optional<size_t> deferred_;
  std::vector<std::vector<State>> states_;
  std::deque<int64_t> under_way_;
  int64_t current_ = 0, peak_ = 0;
};

/// Weights that are whole at one time besides the parts (ZeRO 3): of a layer and, with overlap, the next. A
/// tied head reads the embedding's.
int64_t whole_weights(const MemoryInputs& in, const std::vector<StateBlock>& blocks, const Storage& storage) {
  std::vector<int64_t> of_layer(static_cast<size_t>(in.model.num_layers) + 2, 0);
  std::set<std::pair<size_t, size_t>> counted;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Placed& at = storage.placed[i];
    if (!storage.groups[at.group].shards_weights || !counted.insert({at.group, at.bucket}).second) continue;
    of_layer[static_cast<size_t>(blocks[i].layer)] += storage.bucket_bytes(at, in.precision);
  }
  if (in.model.tied_embeddings && in.plan.pipeline == 1)
    of_layer.back() += storage.bucket_bytes(storage.placed.front(), in.precision);
  int64_t most = 0;
  for (size_t i = 0; i + 1 < of_layer.size(); ++i) {
    const int64_t next = of_layer[i + 1];
    most = std::max(most, in.plan.overlap ? of_layer[i] + next : std::max(of_layer[i], next));
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
      blocks.push_back({layer, block->is_matrix(), block->is_of_experts(), numel, partial,
                        settings_of_block(*block, rules)});
    }
  };
  add(0, parameters.embedding());
  // Blocks that are alike have blocks that are alike; a large model has few different ones. Rules may tell
  // them apart by name.
  const bool named =
      std::ranges::any_of(rules, [](const ParameterRule& rule) { return rule.pattern != "*"; });
  std::vector<std::pair<const BlockSpec*, std::pair<size_t, size_t>>> known;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    if (!in.holds(1 + i)) continue;
    const BlockSpec& block = spec.blocks[static_cast<size_t>(i)];
    const auto like = std::ranges::find_if(known, [&](const auto& k) { return *k.first == block; });
    const size_t begin = blocks.size();
    if (named || like == known.end()) {
      add(1 + i, parameters.block(i));
      known.push_back({&block, {begin, blocks.size()}});
      continue;
    }
    for (size_t k = like->second.first; k < like->second.second; ++k) {
      blocks.push_back(blocks[k]);
      blocks.back().layer = 1 + i;
    }
  }
  add(1 + spec.num_blocks(), parameters.head(in.plan.pipeline == 1));
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
  std::deque<int64_t> under_way;
  for (const FlatGroup& group : storage.groups) {
    if (group.settings.frozen) continue;
    for (const FlatBucket& bucket : group.buckets) {
      under_way.push_back(block_bytes(bucket.numel(), in.plan.gradient_dtype));
      sum += under_way.back();
      most = std::max(most, sum);
      for (; !all_wait && under_way.size() > kMostBucketsUnderWay; under_way.pop_front())
        sum -= under_way.front();
    }
  }
  return most;
}

}  // namespace trireme
