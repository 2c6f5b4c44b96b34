// MoeFeedForward: a mixture of experts instead of a block's feed-forward network.
#pragma once

#include <optional>

#include "models/layers/feed_forward.h"
#include "models/layers/router.h"
#include "parallel/expert_parallel/expert_parallel.h"

namespace trireme {

/// Each token passes through the k experts that the router chose for it and through the shared expert, if
/// there is one; the sum is weighted by the router's gates. Experts are sharded over the expert-parallel
/// ranks, to which rows of tokens travel, and each expert's width over ExpertParallel::width().
class MoeFeedForward {
 public:
  /// Experts have no biases.
  MoeFeedForward(const MixtureSpec& spec, std::shared_ptr<MixtureParameters> parameters, RouterPlace place,
                 const TensorParallel& tensor, const ContextParallel& context, const ExpertParallel& experts,
                 const MatmulPolicies& matmul = {});

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  void collect(ParameterBlocks& blocks) { parameters_->collect(blocks); }
  RouterBalance& balance() { return router_.balance(); }

 private:
  struct MoeState;
  void show_all_rows(Context& ctx, const Tensor& passed) const;
  struct Weights {
    WeightView up, down;
  };
  void compute(Context& ctx, int chunk, const MoeState& state, const Weights& weights,
               const Tensor& made) const;
  void compute_backward(Context& ctx, int chunk, const MoeState& state, const Weights& weights,
                        const Tensor& da, const Tensor& drows) const;

  ActivationKind activation_;
  TensorParallel tensor_;
  ExpertParallel experts_;
  Router router_;
  std::shared_ptr<MixtureParameters> parameters_;
  ParameterBlock &up_, &down_;  // of all experts that this rank holds, one below the other
  QuantizedWeight quantized_up_, quantized_down_;
  std::optional<FeedForward> shared_;
};

}  // namespace trireme
