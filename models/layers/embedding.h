// Embedding: the first layer; tokens to vectors.
#pragma once

#include "models/config/model_config.h"
#include "parallel/module/layer.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/embedding.h"

namespace trireme {

class Embedding final : public Layer {
 public:
  /// Parameters embedding.tokens.weight, whose rows are divided over the tensor ranks, and, for learned
  /// positions, embedding.positions.weight, whole on each.
  Embedding(const ModelConfig& config, const TensorParallel& tensor);

  /// [rows, C] from the micro-batch's tokens; x is undefined. Each rank looks up the tokens it holds, the
  /// first adds the positions, and the terms are summed.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  /// Undefined: tokens have no gradient.
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  bool backward_reads_weights() const override { return false; }
  void collect(std::vector<ParameterBlock*>& blocks) override;

  /// The token table, for a head that is tied to it.
  ParameterBlock& tokens() { return tokens_; }

 private:
  ops::TablePart part() const;

  TensorParallel tensor_;
  ParameterBlock tokens_, positions_;
};

}  // namespace trireme
