// QueryKeyNorm: RMSNorm of queries and keys before they are turned, of each head on its own (Qwen3, arXiv
// 2505.09388) or of all heads together (OLMo 2, arXiv 2501.00656).
#pragma once

#include <array>
#include <memory>

#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/dispatch.h"

namespace trireme {

/// Of all heads together: each tensor-parallel rank has some, and sums over them go round once each way.
/// Where ranks hold copies of a key head, the sums have it as often, and are divided by as much more: of a
/// gradient, to which each copy adds its own term, they have it whole.
class QueryKeyNorm {
 public:
  QueryKeyNorm(const AttentionSpec& spec, std::shared_ptr<AttentionParameters> parameters,
               const TensorParallel& tensor);

  struct Kept {
    Tensor raw;  ///< [rows, query and key columns]: before the norms
    /// Of the norms: [rows, heads] and [rows, key heads], or [rows, 2] of both in `query_rstd`.
    Tensor query_rstd, key_rstd;
  };
  /// Query and key columns of qkv [rows, qkv columns], in place. Does nothing where queries have no norm.
  void forward(Context& ctx, const Tensor& qkv, Kept& kept) const;
  /// Those of the gradient, in place; lets go of what was kept.
  void backward(Context& ctx, const Tensor& dqkv, Kept& kept) const;

 private:
  /// Of queries or of keys.
  struct Share {
    int64_t number;        ///< 0 queries, 1 keys: the column of their sums and scales
    int64_t begin, count;  ///< columns of qkv
    int64_t width;         ///< that the ranks have together, copies as often as there are
    const ParameterBlock* gain;

    ops::Columns of(const Tensor& qkv) const { return {qkv, begin, count}; }
    ops::Columns number_of(const Tensor& t) const { return {t, number, 1}; }
  };
  std::array<Share, 2> shares() const;
  void forward_of_all(Context& ctx, const Tensor& qkv, Kept& kept) const;
  void backward_of_all(Context& ctx, const Tensor& dqkv, const Kept& kept) const;

  AttentionSpec spec_;
  std::shared_ptr<AttentionParameters> parameters_;
  TensorParallel tensor_;
  int64_t queries_, keys_;  // columns of this rank
};

}  // namespace trireme
