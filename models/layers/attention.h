// Attention: causal self-attention with grouped queries and, for rotary models, rotated queries and keys. Its
// heads are sharded over the tensor-parallel ranks, its sequences over the context-parallel ranks.
#pragma once

#include "models/layers/matmul_policies.h"
#include "models/layers/query_key_norm.h"
#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/tensor_parallel/linear.h"
#include "runtime/ops/attention/attention.h"

namespace trireme {

class Attention {
 public:
  /// Of block `index` of the model. `rotary` is the table of spec.rotary (undefined where positions are not
  /// rotary). With `recomputes_core` only query, key and value are kept, and attention to them is run again
  /// in the backward pass.
  Attention(const AttentionSpec& spec, std::shared_ptr<AttentionParameters> parameters, int64_t index,
            const Tensor& rotary, const TensorParallel& tensor, const ContextParallel& context,
            bool recomputes_core = false, const MatmulPolicies& matmul = {});

  /// Where the batch is paged, the keys and values of its rows are stored in the cache of this block first,
  /// and nothing is kept.
  Tensor forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  /// Of a paged batch stores the keys and values of x alone.
  void store(Context& ctx, const TokenBatch& batch, const Tensor& x) const;
  void collect(ParameterBlocks& blocks) { parameters_->collect(blocks); }

 private:
  ops::AttentionShape shape(const TokenBatch& batch) const;
  Tensor forward_paged(Context& ctx, const TokenBatch& batch, const Tensor& x) const;
  Tensor store_and_give(Context& ctx, const TokenBatch& batch, const Tensor& x) const;
  struct State;
  /// Query and key heads, in qkv or its gradient, turned by their positions or back.
  void turn(Context& ctx, const Tensor& qkv, const Tensor& positions, bool back) const;

  AttentionSpec spec_;
  std::shared_ptr<AttentionParameters> parameters_;
  int64_t index_;
  int64_t num_heads_, num_kv_heads_;  // of this rank
  bool recomputes_core_;
  Tensor rotary_;
  TensorParallel tensor_;
  ContextParallel context_;
  ColumnParallelLinear qkv_;
  QueryKeyNorm norm_;
  RowParallelLinear output_;
};

}  // namespace trireme
