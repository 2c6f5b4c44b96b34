#include "models/cost/state_memory.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>
#include <vector>

#include "models/cost/rank_shape.h"

namespace trireme {

namespace {

constexpr int64_t kUnit = 1024;         // elements; ops::kSumBlock
constexpr size_t kBucketsUnderWay = 2;  // GradientReducer's

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

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
    for (int64_t e = 0; e < RankShape::share(moe.num_experts, num_expert_ranks_); ++e)
      blocks_.push_back({layer_, true, true, tensors * ffn * hidden_});
    if (moe.shared_ffn_size > 0) matrix(tensors * RankShape::share(moe.shared_ffn_size, tensor_) * hidden_);
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

struct Bucket {
  int64_t numel = 0;
  int num_blocks = 0;
};

/// The flat storage of the blocks of one kind: ParameterStorage::lay_out in numbers.
struct FlatGroup {
  std::vector<Bucket> buckets;    // the last layer's first
  std::vector<size_t> bucket_of;  // one a block, in the order of the forward pass
  int64_t numel = 0;

  FlatGroup(const std::vector<StateBlock>& blocks, bool matrices, const ShardingSpec& sharding)
      : bucket_of(blocks.size()) {
    Bucket open;
    int64_t layer = -1;
    const auto close = [&] {
      if (open.num_blocks == 0) return;
      open.numel = round_up(open.numel, kUnit * sharding.num_shards);
      numel += open.numel;
      buckets.push_back(std::exchange(open, {}));
    };
    for (size_t i = blocks.size(); i-- > 0;) {
      if (blocks[i].is_matrix != matrices) continue;
      // Where weights are divided a bucket ends with its layer.
      if (matrices && sharding.zero_stage >= 3 && blocks[i].layer != layer) close();
      layer = blocks[i].layer;
      bucket_of[i] = buckets.size();
      open.numel += round_up(blocks[i].numel, kUnit);
      ++open.num_blocks;
      if (open.numel * 4 >= sharding.bucket_bytes) close();
    }
    close();
  }
};

/// A backward pass with gradients that live in buckets (ZeRO 2): GradientReducer in numbers.
class BucketsInUse {
 public:
  BucketsInUse(const MemoryInputs& in, const std::vector<StateBlock>& blocks, const FlatGroup& matrices,
               const FlatGroup& vectors)
      : blocks_(blocks), groups_{&vectors, &matrices}, limit_(in.plan.overlap ? kBucketsUnderWay : 0) {
    for (const FlatGroup* group : groups_) states_.emplace_back(group->buckets.size());
  }

  /// The most bytes at one time. `tied`: the head adds to the gradient of the token table, the first block.
  int64_t peak(bool tied) {
    for (size_t end = blocks_.size(); end > 0;) {
      size_t begin = end - 1;
      while (begin > 0 && blocks_[begin - 1].layer == blocks_[end - 1].layer) --begin;
      for (size_t i = begin; i < end; ++i) make(i);
      if (tied && end == blocks_.size()) make(0);
      for (size_t i = begin; i < end; ++i) complete(i);
      end = begin;
    }
    return peak_;
  }

 private:
  struct State {
    bool exists = false;
    int num_complete = 0;
  };
  std::pair<const Bucket&, State&> at(size_t block) {
    const size_t kind = blocks_[block].is_matrix ? 1 : 0, bucket = groups_[kind]->bucket_of[block];
    return {groups_[kind]->buckets[bucket], states_[kind][bucket]};
  }
  void make(size_t block) {
    const auto [bucket, state] = at(block);
    if (std::exchange(state.exists, true)) return;
    current_ += block_bytes(bucket.numel, DType::f32);
    peak_ = std::max(peak_, current_);
  }
  void complete(size_t block) {
    const auto [bucket, state] = at(block);
    if (++state.num_complete < bucket.num_blocks) return;
    under_way_.push_back(block_bytes(bucket.numel, DType::f32));
    for (; under_way_.size() > limit_; under_way_.pop_front()) current_ -= under_way_.front();
  }

  const std::vector<StateBlock>& blocks_;
  const FlatGroup* groups_[2];
  size_t limit_;
  std::vector<std::vector<State>> states_;
  std::deque<int64_t> under_way_;
  int64_t current_ = 0, peak_ = 0;
};

/// Weights that are whole at one time besides the parts (ZeRO 3): of a layer and, with overlap,
/// the next. A tied head reads
/// the embedding's.
int64_t whole_weights(const MemoryInputs& in, const std::vector<StateBlock>& blocks,
                      const FlatGroup& matrices) {
  std::vector<int64_t> of_layer(static_cast<size_t>(in.model.num_layers) + 2, 0);
  std::vector<bool> counted(matrices.buckets.size(), false);
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!blocks[i].is_matrix || counted[matrices.bucket_of[i]]) continue;
    counted[matrices.bucket_of[i]] = true;
    of_layer[static_cast<size_t>(blocks[i].layer)] +=
        block_bytes(matrices.buckets[matrices.bucket_of[i]].numel, in.precision);
  }
  if (in.model.tied_embeddings && in.plan.pipeline == 1)
    of_layer.back() = block_bytes(matrices.buckets.back().numel, in.precision);
  int64_t most = 0;
  for (size_t i = 0; i + 1 < of_layer.size(); ++i) {
    const int64_t next = of_layer[i + 1];
    most = std::max(most, in.plan.overlap ? of_layer[i] + next : std::max(of_layer[i], next));
  }
  return most;
}

int64_t bytes_of_all(const FlatGroup& group) {
  int64_t bytes = 0;
  for (const Bucket& bucket : group.buckets) bytes += block_bytes(bucket.numel, DType::f32);
  return bytes;
}

// Moves the blocks of experts to a list of their own.
std::vector<StateBlock> take_experts(std::vector<StateBlock>& blocks) {
  std::vector<StateBlock> experts;
  std::ranges::copy_if(blocks, std::back_inserter(experts), &StateBlock::is_expert);
  std::erase_if(blocks, [](const StateBlock& block) { return block.is_expert; });
  return experts;
}

void add_experts(const MemoryInputs& in, const std::vector<StateBlock>& experts, MemoryEstimate& estimate) {
  if (experts.empty()) return;
  ShardingSpec sharding = in.sharding;
  if (sharding.zero_stage > 0) sharding.num_shards = in.plan.expert_shard_ranks();
  const FlatGroup group(experts, true, sharding);
  const auto bytes = [&](DType dtype, int divided_from_stage) {
    return block_bytes(group.numel / (sharding.zero_stage >= divided_from_stage ? sharding.num_shards : 1),
                       dtype);
  };
  const bool has_master = in.precision != DType::f32 && sharding.master;
  estimate[MemoryCategory::weights] += bytes(in.precision, 3);
  estimate[MemoryCategory::gradients] +=
      bytes(DType::f32, 2) + (sharding.zero_stage >= 2 && sharding.num_shards > 1 ? bytes_of_all(group) : 0);
  estimate[MemoryCategory::optimizer] += (has_master ? 3 : 2) * bytes(DType::f32, 1);
}

}  // namespace

std::vector<StateBlock> state_blocks(const MemoryInputs& in) {
  std::vector<StateBlock> blocks = Blocks(in).all();
  std::erase_if(blocks, [&](const StateBlock& block) { return !in.holds(block.layer); });
  return blocks;
}

void estimate_state(const MemoryInputs& in, MemoryEstimate& estimate) {
  std::vector<StateBlock> blocks = state_blocks(in);
  const std::vector<StateBlock> experts = take_experts(blocks);
  const FlatGroup matrices(blocks, true, in.sharding), vectors(blocks, false, in.sharding);
  const auto in_f32 = [&](const FlatGroup& group, int divided_from_stage) {
    const int parts = in.sharding.zero_stage >= divided_from_stage ? in.sharding.num_shards : 1;
    return block_bytes(group.numel / parts, DType::f32);
  };
  const bool divides_weights = in.sharding.zero_stage >= 3 && in.sharding.num_shards > 1;
  estimate[MemoryCategory::weights] =
      block_bytes(matrices.numel / (divides_weights ? in.sharding.num_shards : 1), in.precision) +
      block_bytes(vectors.numel, DType::f32) + (divides_weights ? whole_weights(in, blocks, matrices) : 0);
  estimate[MemoryCategory::gradients] = in_f32(matrices, 2) + in_f32(vectors, 2);
  const int64_t master = in.precision == DType::f32 || !in.sharding.master ? 0 : in_f32(matrices, 1);
  estimate[MemoryCategory::optimizer] = 2 * (in_f32(matrices, 1) + in_f32(vectors, 1)) + master;
  if (in.sharding.zero_stage >= 2 && in.sharding.num_shards > 1) {
    estimate[MemoryCategory::gradients] += in.accumulation > 1
                                               ? bytes_of_all(matrices) + bytes_of_all(vectors)
                                               : BucketsInUse(in, blocks, matrices, vectors)
                                                     .peak(in.model.tied_embeddings && in.plan.pipeline == 1);
  }
  add_experts(in, experts, estimate);
}

}  // namespace trireme
