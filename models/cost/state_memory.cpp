#include "models/cost/state_memory.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "models/cost/rank_shape.h"
#include "parallel/data_parallel/buckets_under_way.h"
#include "parallel/module/flat_layout.h"

namespace trireme {

namespace {

class Blocks {
 public:
  explicit Blocks(const MemoryInputs& in)
      : model_(in.model),
        rank_(in),
        hidden_(in.model.hidden_size),
        num_expert_ranks_(in.plan.expert),
        expert_tensor_(in.plan.expert_tensor_ranks()),
        tensor_(in.plan.tensor),
        is_pipeline_(in.plan.pipeline > 1) {}

  std::vector<StateBlock> all() {
    matrix(rank_.vocab * hidden_);
    if (model_.positions == PositionKind::learned) matrix(model_.max_positions * hidden_);
    for (int64_t i = 0; i < model_.num_layers; ++i) {
      ++layer_;
      const int64_t up = (model_.activation == ActivationKind::swiglu ? 2 : 1) * rank_.ffn;
      norm();
      linear(rank_.qkv(), hidden_);
      linear(hidden_, rank_.heads * rank_.head_dim);
      norm();
      if (model_.moe.is_in(i)) {
        experts();
        continue;
      }
      linear(up, hidden_);
      linear(hidden_, rank_.ffn);
    }
    ++layer_;
    norm();
    if (!model_.tied_embeddings || is_pipeline_) matrix(rank_.vocab * hidden_);
    return std::move(blocks_);
  }

 private:
  void matrix(int64_t numel) { blocks_.push_back({layer_, true, false, numel}); }
  void vector(int64_t numel) { blocks_.push_back({layer_, false, false, numel}); }
  void experts() {
    const MoeConfig& moe = model_.moe;
    const int64_t tensors = model_.activation == ActivationKind::swiglu ? 3 : 2;
    const int64_t ffn = RankShape::share(model_.expert_ffn_size(), expert_tensor_);
    matrix(moe.num_experts * hidden_);
    const int64_t held = RankShape::share(moe.num_experts, num_expert_ranks_);
    const auto expert = [&](int64_t numel) { blocks_.push_back({layer_, true, true, numel}); };
    expert(held * (tensors - 1) * ffn * hidden_);
    expert(held * ffn * hidden_);
    if (moe.shared_ffn_size == 0) return;
    const int64_t shared = RankShape::share(moe.shared_ffn_size, tensor_);
    linear((tensors - 1) * shared, hidden_);
    linear(hidden_, shared);
  }
  void linear(int64_t out, int64_t in) {
    matrix(out * in);
    if (model_.bias) vector(out);
  }
  void norm() {
    vector(hidden_);
    if (model_.bias && model_.norm == NormKind::layer_norm) vector(hidden_);
  }

  const ModelConfig& model_;
  RankShape rank_;
  int64_t hidden_, num_expert_ranks_, expert_tensor_, tensor_;
  bool is_pipeline_;  // whose last stage has a copy of tied embeddings
  int64_t layer_ = 0;
  std::vector<StateBlock> blocks_;
};

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
      sizes.push_back({block.numel, block.layer, block.is_matrix, block.is_expert});
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
    if (std::exchange(state_of(block).exists, true)) return;
    current_ += storage_.bucket_bytes(storage_.placed[block], DType::f32);
    peak_ = std::max(peak_, current_);
  }
  void complete(size_t block) {
    if (deferred_ == block) return;
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
  std::vector<StateBlock> blocks = Blocks(in).all();
  std::erase_if(blocks, [&](const StateBlock& block) { return !in.holds(block.layer); });
  return blocks;
}

void estimate_state(const MemoryInputs& in, MemoryEstimate& estimate) {
  const std::vector<StateBlock> blocks = state_blocks(in);
  const ShardingSpec sharding = with_experts(in);
  const Storage storage(blocks, sharding);
  int64_t weights = 0, gradients = 0, optimizer = 0;
  for (const FlatGroup& group : storage.groups) {
    const auto numel = [&](int from_stage) {
      return sharding.zero_stage >= from_stage ? group.shard_numel() : group.numel;
    };
    const DType type = group.matrices ? in.precision : DType::f32;
    weights += block_bytes(group.shards_weights ? group.shard_numel() : group.numel, type);
    gradients += block_bytes(numel(2), DType::f32);
    const bool has_master = type != DType::f32 && sharding.master;
    optimizer += (has_master ? 3 : 2) * block_bytes(numel(1), DType::f32);
  }
  if (sharding.zero_stage >= 3) weights += whole_weights(in, blocks, storage);
  if (sharding.zero_stage >= 2) gradients += BucketsInUse(in, blocks, storage).peak();
  estimate[MemoryCategory::weights] = weights;
  estimate[MemoryCategory::gradients] = gradients;
  estimate[MemoryCategory::optimizer] = optimizer;
}

int64_t sent_gradients(const MemoryInputs& in) {
  if (in.plan.gradient_dtype == DType::f32 || in.plan.gradient_ranks() == 1) return 0;
  const Storage storage(state_blocks(in), with_experts(in));
  // Shards that are summed over replicas too wait for the end of the step.
  const bool all_wait = in.sharding.num_shards > 1 && in.sharding.num_shards < in.plan.gradient_ranks();
  int64_t sum = 0, most = 0;
  std::deque<int64_t> under_way;
  for (const FlatGroup& group : storage.groups) {
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
