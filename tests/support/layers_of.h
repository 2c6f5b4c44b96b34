// Parts of a config's model by themselves, on a rank that holds all of them but experts.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "models/config/model_config.h"
#include "models/layers/cross_entropy.h"
#include "models/layers/embedding.h"
#include "models/layers/loss_head.h"
#include "models/layers/rotary_table.h"
#include "models/spec/describe_parameters.h"
#include "models/transformer/block.h"

namespace trireme::test {

struct LayersOf {
  ModelSpec spec;
  TensorParallel tensor;
  ContextParallel context;
  ExpertParallel experts;

  LayersOf(const ModelConfig& config, Communicator& self) : LayersOf(config, self, self) {}
  LayersOf(const ModelConfig& config, Communicator& self, Communicator& expert_ranks)
      : spec(spec_of(config)), tensor(self), context(self), experts(expert_ranks, self) {}

  ParameterDescription parameters() const {
    RankShare share;
    share.experts = {experts.group().rank(), experts.group().size()};
    return ParameterDescription(spec, share);
  }
  /// Defined for rotary positions.
  Tensor rotary(Context& ctx) const {
    const RotarySpec& spec_of_rotary = spec.blocks.front().attention.rotary;
    return spec_of_rotary.dims > 0 ? rotary_table(ctx, spec_of_rotary, 8) : Tensor();
  }
  Norm norm() const { return {spec.head.norm, held(parameters().norm(spec.head.norm, "norm"))}; }
  Attention attention(Context& ctx) const {
    const AttentionSpec& attention = spec.blocks.front().attention;
    return {attention, held(parameters().attention(attention, "attention")), 0, rotary(ctx), tensor, context};
  }
  FeedForward feed_forward() const {
    const FeedForwardSpec& part = spec.blocks.front().feed_forward;
    return {part, held(parameters().feed_forward(part, "ffn")), tensor};
  }
  MoeFeedForward mixture() const {
    const MixtureSpec& part = *spec.blocks.front().mixture;
    return {part,   held(parameters().mixture(part, "ffn")), RouterPlace{"ffn.router", 0}, tensor, context,
            experts};
  }
  TransformerBlock block(Context& ctx, int64_t index = 0) const {
    return block(ctx, index, held(parameters().block(index)));
  }
  /// With parameters that others may hold too.
  TransformerBlock block(Context& ctx, int64_t index, std::shared_ptr<BlockParameters> with) const {
    return {spec.blocks[static_cast<size_t>(index)],
            std::move(with),
            index,
            rotary(ctx),
            tensor,
            context,
            experts};
  }
  Embedding embedding() const { return {spec.embedding, held(parameters().embedding()), tensor, DType::f32}; }
  /// Reads `table`, or a matrix of its own where that is null.
  LossHead head(ParameterBlock* table = nullptr, const LossConfig& loss = {}) const {
    return {spec.head, held(parameters().head(table != nullptr)), table,
            tensor,    std::make_shared<CrossEntropy>(loss),      loss};
  }
};

}  // namespace trireme::test
