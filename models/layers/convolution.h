// Convolution: the gated depthwise causal convolution of a block, in the place of attention. Its channels are
// sharded over the tensor-parallel ranks, its sequences over the context-parallel ranks.
#pragma once

#include "models/layers/matmul_policies.h"
#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/tensor_parallel/linear.h"
#include "runtime/ops/convolution.h"

namespace trireme {

class Convolution {
 public:
  /// Of block `index` of the model.
  Convolution(const ConvolutionSpec& spec, std::shared_ptr<ConvolutionParameters> parameters, int64_t index,
              const TensorParallel& tensor, const ContextParallel& context,
              const MatmulPolicies& matmul = {});

  /// Where the batch is paged, the inputs of its rows are stored in the cache of this block, and nothing is
  /// kept.
  Tensor forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;

 private:
  struct State;
  ops::ConvolutionShape shape(const TokenBatch& batch) const;
  Tensor forward_paged(Context& ctx, const TokenBatch& batch, const Tensor& x) const;

  std::shared_ptr<ConvolutionParameters> parameters_;
  int64_t index_;
  int64_t width_, kernel_;  // channels of this rank
  TensorParallel tensor_;
  ContextParallel context_;
  ColumnParallelLinear in_;  // both gates and the values together
  RowParallelLinear output_;
};

}  // namespace trireme
