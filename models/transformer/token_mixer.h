// TokenMixer: what of a block looks at other tokens, attention or a convolution.
#pragma once

#include <memory>
#include <optional>

#include "models/layers/attention.h"
#include "models/layers/convolution.h"
#include "parallel/module/layer.h"

namespace trireme {

/// A block that keeps something of each token in a cache.
class CachingBlock : public Layer {
 public:
  /// Of a paged batch stores what the block caches of its input, and computes nothing else.
  virtual void store(Context& ctx, const TokenBatch& batch, const Tensor& x) = 0;
};

class TokenMixer {
 public:
  /// Of block `index`; `rotary` and `recomputes_attention` as in Attention.
  TokenMixer(const BlockSpec& spec, const std::shared_ptr<BlockParameters>& parameters, int64_t index,
             const Tensor& rotary, const TensorParallel& tensor, const ContextParallel& context,
             bool recomputes_attention, const MatmulPolicies& matmul) {
    if (spec.convolution) {
      convolution_.emplace(*spec.convolution, part_of(parameters, *parameters->convolution), index, tensor,
                           context, matmul);
    } else {
      attention_.emplace(spec.attention, part_of(parameters, parameters->attention), index, rotary, tensor,
                         context, recomputes_attention, matmul);
    }
  }

  Tensor forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const {
    return convolution_ ? convolution_->forward(ctx, batch, x, saved)
                        : attention_->forward(ctx, batch, x, saved);
  }
  /// What it caches of the rows of a paged batch.
  void store(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
    Saved dropped;
    convolution_ ? (void)convolution_->forward(ctx, batch, x, dropped) : attention_->store(ctx, batch, x);
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
    return convolution_ ? convolution_->backward_input(ctx, dy, saved)
                        : attention_->backward_input(ctx, dy, saved);
  }
  void backward_weight(Context& ctx, Saved& saved) const {
    convolution_ ? convolution_->backward_weight(ctx, saved) : attention_->backward_weight(ctx, saved);
  }

 private:
  std::optional<Attention> attention_;  // one of the two
  std::optional<Convolution> convolution_;
};

}  // namespace trireme
