// Attention: causal self-attention with grouped queries and, for rotary models, rotated queries and keys. Its
// heads are divided over the tensor ranks, its sequences over the context ranks.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/context_parallel/context_parallel.h"
#include "parallel/tensor_parallel/linear.h"

namespace trireme {

class Attention {
 public:
  /// Parameters `name`.{query,key,value,output}.{weight,bias}. `rotary` is the model's table (undefined for
  /// learned positions). Where tensor ranks are more than key-value heads, neighbours hold copies of one.
  /// With `recomputes_core` only query, key and value are kept, and attention to them is run again in the
  /// backward pass.
  Attention(const ModelConfig& config, const std::string& name, const Tensor& rotary,
            const TensorParallel& tensor, const ContextParallel& context, bool recomputes_core = false);

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  void collect(std::vector<ParameterBlock*>& blocks);

 private:
  int64_t num_heads_, num_kv_heads_;  // of this rank
  int64_t head_dim_;
  bool recomputes_core_;
  Tensor rotary_;
  ParameterBlock qkv_weight_, qkv_bias_, output_weight_, output_bias_;
  TensorParallel tensor_;
  ContextParallel context_;
  ColumnParallelLinear qkv_;
  RowParallelLinear output_;
};

}  // namespace trireme
