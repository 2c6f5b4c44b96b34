// LossHead: the last layer; final norm, projection onto the vocabulary, cross-entropy.
#pragma once

#include <memory>

#include "models/layers/norm.h"
#include "parallel/module/layer.h"
#include "parallel/tensor_parallel/linear.h"

namespace trireme {

class LossHead final : public Layer {
 public:
  /// Reads the matrix of `parameters`, and where it has none `tied_to`, the embedding's block, which outlives
  /// the head.
  LossHead(const HeadSpec& spec, HeadParameters parameters, const ParameterBlock* tied_to,
           const TensorParallel& tensor);

  /// Adds the losses of the micro-batch's targets to its loss_sum, equal on all tensor ranks, and returns an
  /// undefined tensor. In training the logits become their own gradient at once, so that [rows, V / ranks] is
  /// held only once; its rows lie aligned_row_stride apart.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(std::vector<ParameterBlock*>& blocks) override;
  void collect_shared(std::vector<const ParameterBlock*>& blocks) const override;

  /// The head's own matrix; empty where it reads the embedding's.
  ParameterBlock& weight() { return own_; }

  /// [rows, V], on every tensor rank: for generation, and for those who compare.
  Tensor logits(Context& ctx, const MicroBatch& micro_batch, const Tensor& x) const;

 private:
  int64_t vocab_size() const { return weight_->members.front().global_shape[0]; }

  float soft_cap_;
  TensorParallel tensor_;
  Norm norm_;
  ParameterBlock own_, no_bias_;
  const ParameterBlock* weight_;
  ColumnParallelLinear linear_;
};

}  // namespace trireme
