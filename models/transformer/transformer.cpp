#include "models/transformer/transformer.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "models/layers/rotary_table.h"
#include "models/transformer/block.h"
#include "runtime/base/error.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

Transformer::Transformer(Context& ctx, const ModelConfig& config, int64_t max_seq_len, DType compute_type,
                         const StateDivision& division)
    : config_(config) {
  if (const auto faults = faults_of(config); !faults.empty()) throw_usage("{}", fmt::join(faults, "\n"));
  const Tensor rotary =
      config.positions == PositionKind::rotary ? rotary_table(ctx, config, max_seq_len) : Tensor();
  std::vector<std::unique_ptr<Layer>> layers;
  auto embedding = std::make_unique<Embedding>(config);
  auto head = std::make_unique<LossHead>(config, config.tied_embeddings ? &embedding->tokens() : nullptr);
  head_ = head.get();
  layers.push_back(std::move(embedding));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers.push_back(std::make_unique<TransformerBlock>(config, i, rotary));
  }
  layers.push_back(std::move(head));
  stage_ = std::make_unique<Stage>(std::move(layers));
  storage_ = std::make_unique<ParameterStorage>(ctx, stage_->blocks(), compute_type, division);
}

Tensor Transformer::logits(Context& ctx, const MicroBatch& micro_batch) {
  return head_->logits(ctx, stage_->infer(ctx, micro_batch, Tensor(), stage_->num_layers() - 1));
}

MicroBatch make_micro_batch(Context& ctx, int64_t batch, int64_t seq_len, std::span<const int32_t> tokens,
                            std::span<const int32_t> targets) {
  const Shape rows{batch * seq_len};
  const auto to_device = [&](std::span<const int32_t> values) {
    TRIREME_CHECK(static_cast<int64_t>(values.size()) == rows.numel(), "{} values", values.size());
    const Tensor t = Tensor::empty(ctx, rows, DType::i32, MemoryCategory::buffers);
    ops::copy(ctx, Tensor::borrow(const_cast<int32_t*>(values.data()), rows, DType::i32), t);
    return t;
  };
  std::vector<int32_t> positions(static_cast<size_t>(rows.numel()));
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % seq_len);
  MicroBatch mb;
  mb.batch = batch;
  mb.seq_len = seq_len;
  mb.tokens = to_device(tokens);
  if (!targets.empty()) mb.targets = to_device(targets);
  mb.num_targets = std::ranges::count_if(targets, [](int32_t t) { return t != ops::kIgnoredTarget; });
  mb.positions = to_device(positions);
  return mb;
}

}  // namespace trireme
