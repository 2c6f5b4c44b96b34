// TransformerBlock: attention (or a convolution) and feed-forward, each beside a residual path and behind a
// norm (pre-norm, as in GPT-2 and Llama), between two (as in Gemma 2) or before one (as in OLMo 2); or side
// by side, each behind a norm, beside one residual path (as in GPT-NeoX). Input and output lie in the outer
// region of tensor parallelism.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/layers/feed_forward.h"
#include "models/layers/moe_feed_forward.h"
#include "models/layers/norm.h"
#include "models/spec/describe_parameters.h"
#include "models/transformer/token_mixer.h"
#include "parallel/module/layer.h"

namespace trireme {

class TransformerBlock final : public CachingBlock {
 public:
  /// Block `index` of the model. `rotary` as in Attention, whose core is run again in the backward pass with
  /// `recomputes_attention`.
  TransformerBlock(const BlockSpec& spec, std::shared_ptr<BlockParameters> parameters, int64_t index,
                   const Tensor& rotary, const TensorParallel& tensor, const ContextParallel& context,
                   const ExpertParallel& experts, bool recomputes_attention = false,
                   const MatmulPolicies& matmul = {});

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  void store(Context& ctx, const TokenBatch& batch, const Tensor& x) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(ParameterBlocks& blocks) override { parameters_->collect(blocks); }
  std::string name() const override { return block_name(index_); }
  void collect_statistics(std::vector<LayerStatistics*>& statistics) override;

 private:
  struct State;
  Tensor attend(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state);
  Tensor feed_forward(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state);
  Tensor forward_side_by_side(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state);
  Tensor backward_side_by_side(Context& ctx, const Tensor& dy, State& state);
  template <class F>
  auto with_ffn(F&& f) {
    return experts_ ? f(*experts_) : f(*ffn_);
  }

  int64_t index_;
  std::shared_ptr<BlockParameters> parameters_;
  bool side_by_side_;
  TokenMixer mixer_;
  std::optional<Norm> attention_norm_, ffn_norm_;            // of what the parts take
  std::optional<Norm> attention_post_norm_, ffn_post_norm_;  // of what they make
  std::optional<FeedForward> ffn_;                           // one of the two
  std::optional<MoeFeedForward> experts_;
};

}  // namespace trireme
