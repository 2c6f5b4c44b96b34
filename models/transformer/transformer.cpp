#include "models/transformer/transformer.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "models/config/validate.h"
#include "models/cost/layer_placement.h"
#include "models/layers/make_objective.h"
#include "models/layers/rotary_table.h"
#include "models/spec/describe.h"
#include "models/transformer/block.h"
#include "models/transformer/bottleneck_block.h"
#include "models/transformer/exit_layer.h"
#include "parallel/module/recompute.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

GroupShare share_of(const Communicator& group) { return {group.rank(), group.size()}; }

RankShare share_of(const ParallelContext& parallel) {
  return {.tensor = share_of(parallel.tensor()),
          .sequence = parallel.plan().sequence,
          .experts = share_of(parallel.experts()),
          .expert_tensor = share_of(parallel.expert_tensor())};
}

// A model that is only read has codes or values, and no scales of its own.
ModelConfig as_it_is(ModelConfig config) {
  config.quantization = {};
  return config;
}

}  // namespace

Transformer::Transformer(Context& ctx, const ParallelContext& parallel, const ModelConfig& config,
                         const TransformerOptions& options)
    : config_(options.inference ? as_it_is(config) : config),
      options_(options),
      share_(share_of(parallel)),
      pipeline_(parallel.pipeline()),
      tensor_(parallel),
      matmul_{options.float8, config_.quantization, quantizes_},
      context_(parallel),
      experts_(parallel) {
  const auto errors = validate(config_, parallel.plan(), {});
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  spec_ = spec_of(config_);
  placement_ = layer_placement(config, options.max_seq_len, parallel.plan());
  holders_ = std::make_unique<const WeightHolders>(spec_, placement_, pipeline_.size());
  parameters_ = std::make_unique<ParameterRegistry>(spec_, share_, *holders_, pipeline_.rank());
  for (int chunk = 0; chunk < parallel.plan().virtual_stages; ++chunk) {
    const auto stage = static_cast<size_t>(chunk * pipeline_.size() + pipeline_.rank());
    std::vector<std::unique_ptr<Layer>> layers;
    const std::shared_ptr<ExitStreams> streams = exit_streams(stage);
    bool begins = true;
    for (int i = placement_[stage]; i < placement_[stage + 1]; ++i)
      layers.push_back(with_exits(make_layer(ctx, i, streams), i, stage, streams, begins));
    part_.chunks.emplace_back(std::move(layers), placement_[stage] - 1);  // the first is the embedding
  }
  part_.holders = holders_->sets();
  if (!options.inference) {
    part_.storage =
        std::make_unique<ParameterStorage>(ctx, part_.blocks(), options.compute_type, options.sharding);
    weights_ = std::make_unique<ShardedWeights>(parallel, *part_.storage, parallel.plan().overlap);
    for (Stage& stage : part_.chunks) stage.set_weight_access(weights_.get());
  }
  part_.boundary = {spec_.hidden_size,
                    options.compute_type,
                    [tensor = tensor_](const TokenBatch& batch) {
                      return batch.rows() / (tensor.shards_rows(batch) ? tensor.size() : 1);
                    },
                    {}};
  for (size_t stage = 0; stage + 1 < placement_.size(); ++stage) {
    const bool has_exits = !config_.exits.empty() && config_.exits.front() < placement_[stage + 1];
    part_.boundary.streams.push_back(1 + (has_exits ? kept_streams(config_, options_.exits) : 0));
  }
}

std::shared_ptr<ExitStreams> Transformer::exit_streams(size_t stage) const {
  if (options_.inference || kept_streams(config_, options_.exits) == 0 ||
      config_.exits.front() >= placement_[stage + 1])
    return nullptr;
  return std::make_shared<ExitStreams>(config_.exits, spec_.num_blocks(), options_.exits, tensor_);
}

// Place i is that of block i - 1, and an exit behind i blocks is behind it.
std::unique_ptr<Layer> Transformer::with_exits(std::unique_ptr<Layer> layer, int place, size_t stage,
                                               const std::shared_ptr<ExitStreams>& streams, bool& begins) {
  const int64_t num_blocks = spec_.num_blocks();
  ExitRole role;
  if (place >= 1 && place <= num_blocks && !options_.inference) {
    role.block = place - 1;
    role.dropout = options_.exits.dropout_of(role.block, num_blocks);
    role.may_skip = !spec_.blocks[static_cast<size_t>(role.block)].mixture;
  }
  if (streams) {
    role.is_exit = std::ranges::count(config_.exits, place) > 0;
    role.receives = place == placement_[stage] && config_.exits.front() < place;
    role.sends = place + 1 == placement_[stage + 1] && stage + 2 < placement_.size();
    role.begins = begins && (role.is_exit || role.receives);
    if (role.begins) begins = false;
  }
  if (role.is_plain()) return layer;
  return std::make_unique<ExitLayer>(std::move(layer), role, streams, tensor_);
}

std::unique_ptr<Layer> Transformer::make_layer(Context& ctx, int place,
                                               const std::shared_ptr<ExitStreams>& streams) {
  if (place == 0)
    return std::make_unique<Embedding>(spec_.embedding, parameters_->embedding(), tensor_,
                                       options_.compute_type, matmul_);
  if (place <= spec_.num_blocks()) return make_block(ctx, place - 1);
  auto objective = options_.objective ? options_.objective : make_objective(options_.loss);
  auto layer = std::make_unique<LossHead>(spec_.head, parameters_->head(), parameters_->token_table(),
                                          tensor_, std::move(objective), options_.loss, matmul_, streams);
  head_ = layer.get();
  return layer;
}

std::unique_ptr<Layer> Transformer::make_block(Context& ctx, int64_t index) {
  const BlockSpec& spec = spec_.blocks[static_cast<size_t>(index)];
  const Tensor rotary = rotary_table_of(ctx, spec.attention.rotary);
  const bool recomputes_attention = options_.recomputation.of_attention();
  std::unique_ptr<CachingBlock> made;
  if (spec.bottleneck) {
    made = std::make_unique<BottleneckBlock>(spec, parameters_->block(index), index, rotary, tensor_,
                                             context_, recomputes_attention, matmul_);
  } else {
    made = std::make_unique<TransformerBlock>(spec, parameters_->block(index), index, rotary, tensor_,
                                              context_, experts_, recomputes_attention, matmul_);
  }
  blocks_.push_back(made.get());
  std::unique_ptr<Layer> block = std::move(made);
  if (options_.recomputation.of_block(index)) block = std::make_unique<Recomputed>(std::move(block));
  return block;
}

Tensor Transformer::rotary_table_of(Context& ctx, const RotarySpec& rotary) {
  if (rotary.dims == 0) return {};
  for (const auto& [spec, table] : rotary_tables_) {
    if (spec == rotary) return table;
  }
  return rotary_tables_.emplace_back(rotary, rotary_table(ctx, rotary, options_.max_seq_len)).second;
}

Tensor Transformer::run_blocks(Context& ctx, const MicroBatch& mb) {
  const int num_ranks = pipeline_.size(), last = num_ranks * static_cast<int>(part_.chunks.size()) - 1;
  const auto boundary = [&] {
    return Tensor::empty(ctx, {part_.boundary.rows(mb), part_.boundary.width}, part_.boundary.dtype);
  };
  Tensor x;
  for (int v = 0; v <= last; ++v) {
    if (v % num_ranks != pipeline_.rank()) continue;
    if (v > 0 && num_ranks > 1) pipeline_.receive(ctx.stream(), x = boundary(), (v - 1) % num_ranks);
    Stage& stage = part_.chunks[static_cast<size_t>(v / num_ranks)];
    x = stage.infer(ctx, mb, x, stage.num_layers() - (v == last ? 1 : 0));
    if (v < last && num_ranks > 1) pipeline_.send(ctx.stream(), x, (v + 1) % num_ranks);
  }
  return x;
}

Tensor Transformer::logits(Context& ctx, const TokenBatch& batch) {
  MicroBatch mb;
  static_cast<TokenBatch&>(mb) = batch;
  mb.training = false;
  const Tensor x = run_blocks(ctx, mb);
  const int64_t rows = mb.paged ? mb.paged->logit_rows.dim(0) : mb.rows();
  Tensor logits;
  if (rows > 0 && head_ != nullptr) {
    const Stage& stage = part_.chunks.back();
    const ScopedWeights held = stage.hold_for_forward(ctx, stage.num_layers() - 1);
    logits = head_->head().all_logits(ctx, mb, x);
  } else {
    logits = Tensor::empty(ctx, {rows, spec_.vocab_size}, part_.boundary.dtype);
  }
  if (rows > 0) pipeline_.broadcast(ctx.stream(), logits, pipeline_.size() - 1);
  return logits;
}

Tensor Transformer::last_states(Context& ctx, const TokenBatch& batch) {
  MicroBatch mb;
  static_cast<TokenBatch&>(mb) = batch;
  mb.training = false;
  const Tensor x = run_blocks(ctx, mb);
  if (head_ == nullptr) return {};
  const Stage& stage = part_.chunks.back();
  const ScopedWeights held = stage.hold_for_forward(ctx, stage.num_layers() - 1);
  Head::Saved dropped;
  return tensor_.gather(ctx, head_->head().norm(ctx, x, dropped), tensor_.shards_rows(mb));
}

void Transformer::expect_blocks(const TokenBatch& batch, int64_t first, int64_t last) const {
  TRIREME_CHECK(std::ssize(blocks_) == spec_.num_blocks() && part_.chunks.size() == 1 && batch.paged &&
                    first >= 0 && first <= last && last <= spec_.num_blocks(),
                "blocks {} to {} of {} by themselves, on a rank with {}", first, last, spec_.num_blocks(),
                blocks_.size());
}

Tensor Transformer::streams(Context& ctx, const TokenBatch& batch, const Tensor& x, int64_t first,
                            int64_t last) {
  expect_blocks(batch, first, last);
  MicroBatch mb;
  static_cast<TokenBatch&>(mb) = batch;
  mb.training = false;
  Stage& stage = part_.chunks.front();
  Tensor out = first == 0 ? stage.infer_layer(ctx, mb, {}, 0) : x;
  for (int64_t block = first; block < last; ++block)
    out = stage.infer_layer(ctx, mb, out, static_cast<size_t>(block + 1));  // the embedding is layer 0
  return out;
}

void Transformer::store(Context& ctx, const TokenBatch& batch, const Tensor& x, int64_t first, int64_t last) {
  expect_blocks(batch, first, last);
  const Stage& stage = part_.chunks.front();
  for (int64_t block = first; block < last; ++block) {
    const auto at = static_cast<size_t>(block);
    const ScopedWeights held = stage.hold_for_forward(ctx, at + 1);
    blocks_[at]->store(ctx, batch, x);
  }
}

Tensor Transformer::logits_of_streams(Context& ctx, const TokenBatch& batch, const Tensor& x) {
  TRIREME_CHECK(head_ != nullptr && batch.paged, "streams at an exit on a rank without the head");
  const Stage& stage = part_.chunks.back();
  const ScopedWeights held = stage.hold_for_forward(ctx, stage.num_layers() - 1);
  return head_->head().all_logits(ctx, batch, x);
}

std::vector<std::vector<Parameter>> parameters_by_layer(const ModelConfig& config) {
  return parameters_by_layer(spec_of(config));
}

}  // namespace trireme
