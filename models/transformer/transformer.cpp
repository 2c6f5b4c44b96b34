#include "models/transformer/transformer.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "models/config/validate.h"
#include "models/cost/layer_placement.h"
#include "models/layers/make_objective.h"
#include "models/layers/rotary_table.h"
#include "models/spec/describe.h"
#include "models/transformer/block.h"
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
    for (int i = placement_[stage]; i < placement_[stage + 1]; ++i) layers.push_back(make_layer(ctx, i));
    part_.chunks.emplace_back(std::move(layers), placement_[stage] - 1);  // the first is the embedding
  }
  part_.holders = holders_->sets();
  if (!options.inference) {
    part_.storage =
        std::make_unique<ParameterStorage>(ctx, part_.blocks(), options.compute_type, options.sharding);
    weights_ = std::make_unique<ShardedWeights>(parallel, *part_.storage, parallel.plan().overlap);
    for (Stage& stage : part_.chunks) stage.set_weight_access(weights_.get());
  }
  part_.boundary = {spec_.hidden_size, options.compute_type, [tensor = tensor_](const TokenBatch& batch) {
                      return batch.rows() / (tensor.shards_rows(batch) ? tensor.size() : 1);
                    }};
}

std::unique_ptr<Layer> Transformer::make_layer(Context& ctx, int place) {
  if (place == 0)
    return std::make_unique<Embedding>(spec_.embedding, parameters_->embedding(), tensor_,
                                       options_.compute_type, matmul_);
  if (place <= spec_.num_blocks()) return make_block(ctx, place - 1);
  auto objective = options_.objective ? options_.objective : make_objective(options_.loss);
  auto layer = std::make_unique<LossHead>(spec_.head, parameters_->head(), parameters_->token_table(),
                                          tensor_, std::move(objective), options_.loss, matmul_);
  head_ = layer.get();
  return layer;
}

std::unique_ptr<Layer> Transformer::make_block(Context& ctx, int64_t index) {
  const BlockSpec& spec = spec_.blocks[static_cast<size_t>(index)];
  std::unique_ptr<Layer> block = std::make_unique<TransformerBlock>(
      spec, parameters_->block(index), index, rotary_table_of(ctx, spec.attention.rotary), tensor_, context_,
      experts_, options_.recomputation.of_attention(), matmul_);
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

std::vector<std::vector<Parameter>> parameters_by_layer(const ModelConfig& config) {
  return parameters_by_layer(spec_of(config));
}

}  // namespace trireme
