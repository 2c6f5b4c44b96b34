// BottleneckBlock: a block that is narrow inside (MobileBERT, arXiv 2004.02984, decoder-only, pre-norm). With
// h_0 = W_in norm(x), attention (or a convolution) and then each feed-forward part add what they make of
// norm(h) to h, and the output is x + W_out h. Input and output lie in the outer region of tensor
// parallelism; every rank has W_in and W_out whole, and applies them to the rows that it sees there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/layers/feed_forward.h"
#include "models/layers/norm.h"
#include "models/spec/describe_parameters.h"
#include "models/transformer/token_mixer.h"
#include "parallel/module/layer.h"
#include "runtime/comm/communicator.h"

namespace trireme {

class BottleneckBlock final : public CachingBlock {
 public:
  /// Block `index` of the model, which has a bottleneck; `rotary` and `recomputes_attention` as in Attention.
  BottleneckBlock(const BlockSpec& spec, std::shared_ptr<BlockParameters> parameters, int64_t index,
                  const Tensor& rotary, const TensorParallel& tensor, const ContextParallel& context,
                  bool recomputes_attention = false, const MatmulPolicies& matmul = {});

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  void store(Context& ctx, const TokenBatch& batch, const Tensor& x) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(ParameterBlocks& blocks) override { parameters_->collect(blocks); }
  std::string name() const override { return block_name(index_); }

 private:
  struct State;
  struct Part {
    Norm norm;
    std::unique_ptr<FeedForward> feed_forward;
  };

  int64_t index_;
  std::shared_ptr<BlockParameters> parameters_;
  std::unique_ptr<Communicator> alone_;  // the ranks of the linear layers around
  Norm norm_;
  ColumnParallelLinear in_, out_;
  Norm mixer_norm_;
  TokenMixer mixer_;
  std::vector<Part> parts_;
};

}  // namespace trireme
