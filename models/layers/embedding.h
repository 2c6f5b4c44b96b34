// Embedding: the first layer; token ids to vectors.
#pragma once

#include "models/layers/matmul_policies.h"
#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/module/layer.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/embedding.h"

namespace trireme {

class Embedding final : public Layer {
 public:
  Embedding(const EmbeddingSpec& spec, std::shared_ptr<EmbeddingParameters> parameters,
            const TensorParallel& tensor, DType compute_type, const MatmulPolicies& matmul = {});

  /// [rows, C] from the micro-batch's tokens; x is undefined. Each rank looks up the tokens it holds, the
  /// first adds the positions, and the terms are summed.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  /// Undefined: tokens have no gradient.
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  bool backward_reads_weights() const override { return false; }
  void collect(ParameterBlocks& blocks) override { parameters_->collect(blocks); }

  /// The token table, for a head that is tied to it.
  ParameterBlock& tokens() { return parameters_->tokens; }

 private:
  ops::TablePart part() const;

  float scale_;
  DType compute_type_;
  TensorParallel tensor_;
  std::shared_ptr<EmbeddingParameters> parameters_;
  QuantizedWeight table_;
};

}  // namespace trireme
