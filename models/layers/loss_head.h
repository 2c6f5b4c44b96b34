// LossHead: the last layer; final norm, projection onto the vocabulary, cross-entropy.
#pragma once

#include <memory>

#include "models/layers/linear.h"
#include "models/layers/norm.h"
#include "parallel/module/layer.h"

namespace trireme {

class LossHead final : public Layer {
 public:
  /// Parameters final_norm.* and head.weight; no head.weight where `tied_to` (which outlives the head) is
  /// given.
  LossHead(const ModelConfig& config, const ParameterBlock* tied_to);

  /// Adds the losses of the micro-batch's targets to its loss_sum and returns an undefined tensor. In
  /// training the logits become their own gradient at once, so that [rows, V] is held only once.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(std::vector<ParameterBlock*>& blocks) override;
  void collect_shared(std::vector<const ParameterBlock*>& blocks) const override;

  /// [rows, V] for x[rows, C]: for generation, and for those who compare.
  Tensor logits(Context& ctx, const Tensor& x) const;

 private:
  Norm norm_;
  ParameterBlock own_weight_, no_bias_;
  const ParameterBlock* weight_;
  Linear linear_;
};

}  // namespace trireme
