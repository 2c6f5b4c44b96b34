// Head: final norm and projection onto the vocabulary (logits).
#pragma once

#include <memory>
#include <vector>

#include "models/layers/matmul_policies.h"
#include "models/layers/norm.h"
#include "models/layers/objective.h"
#include "parallel/module/layer.h"
#include "parallel/tensor_parallel/linear.h"

namespace trireme {

class Head {
 public:
  /// Reads the matrix of `parameters`, and where it has none `tied_to`, the embedding's block, which outlives
  /// the head.
  Head(const HeadSpec& spec, std::shared_ptr<HeadParameters> parameters, ParameterBlock* tied_to,
       const TensorParallel& tensor, const MatmulPolicies& matmul = {});

  int64_t vocab_size() const { return weight_->members.front().global_shape[0]; }
  /// What a row of a rank's logits takes, on the rank with the most columns.
  int64_t bytes_a_row(DType dtype) const;
  /// The matrix that it reads, the embedding's too.
  void collect(std::vector<ParameterBlock*>& blocks);

  /// [rows, V] from the last block's output, on every tensor-parallel rank: for generation, and for those who
  /// compare. Of a paged batch of the rows alone whose logits are asked for.
  Tensor all_logits(Context& ctx, const TokenBatch& batch, const Tensor& x) const;

  struct Saved {
    trireme::Saved norm, linear;
  };
  /// The normed rows of x, and back.
  Tensor norm(Context& ctx, const Tensor& x, Saved& saved) const;
  Tensor norm_backward(Context& ctx, const Tensor& dy, Saved& saved) const;

  /// All rows' logits at once, from normed rows (a rank's own where rows are sharded); their rows lie
  /// aligned_row_stride apart.
  RowLogits logits(Context& ctx, const Tensor& y, const TokenBatch& batch, Saved& saved) const;
  Tensor backward_input(Context& ctx, const ops::Columns& dlogits, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;

  /// The same of some rows, y[rows, C], that every tensor-parallel rank has; dy[rows, C] is this rank's term
  /// of the gradient, and the matrix' gradient is added to at once. `weight`: that of the pass.
  RowLogits logits_of_rows(Context& ctx, const Tensor& y, const WeightView& weight) const;
  void backward_of_rows(Context& ctx, const ops::Columns& dlogits, const Tensor& y, const WeightView& weight,
                        const Tensor& dy) const;
  /// The matrix, for all rows of a pass.
  WeightView weight_of_forward(Context& ctx) const { return quantized_.forward(ctx); }
  WeightView weight_of_backward(Context& ctx) const { return quantized_.backward(ctx); }

 private:
  RowLogits empty_logits(Context& ctx, int64_t rows, DType dtype) const;

  float soft_cap_;
  TensorParallel tensor_;
  std::shared_ptr<HeadParameters> parameters_;
  Norm norm_;
  ParameterBlock no_bias_;
  ParameterBlock* weight_;
  QuantizedWeight quantized_;
  ColumnParallelLinear linear_;
  LinearProducts products_;
};

}  // namespace trireme
