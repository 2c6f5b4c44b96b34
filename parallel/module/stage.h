// Stage: the consecutive layers that one pipeline rank runs.
#pragma once

#include <memory>
#include <vector>

#include "parallel/module/layer.h"

namespace trireme {

/// A micro-batch's Saved, one a layer.
using StageSaved = std::vector<Saved>;

/// Runs layers in order and knows nothing of what they compute.
class Stage {
 public:
  explicit Stage(std::vector<std::unique_ptr<Layer>> layers);

  /// The last layer's output. `input` is undefined on the first stage. When the micro-batch is not for
  /// training, `saved` stays empty.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, StageSaved& saved);
  /// The output of the first `num_layers` layers; nothing is kept for a backward pass.
  Tensor infer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t num_layers);
  /// The whole backward pass, layer by layer: `expected`, input gradient, weight gradient, then `ready` for
  /// its blocks. Both may be empty.
  Tensor backward(Context& ctx, const Tensor& doutput, StageSaved& saved, const GradientsReady& ready,
                  const GradientsExpected& expected = {});
  /// The two halves for schedules that split the backward pass.
  Tensor backward_input(Context& ctx, const Tensor& doutput, StageSaved& saved,
                        const GradientsExpected& expected = {});
  void backward_weight(Context& ctx, StageSaved& saved, const GradientsReady& ready);

  size_t num_layers() const { return layers_.size(); }
  /// All blocks in the order of the forward pass.
  std::vector<ParameterBlock*> blocks() const;

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::vector<ParameterBlock*>> blocks_of_layer_;
  std::vector<std::vector<const ParameterBlock*>> used_by_layer_;  // its own and shared ones
};

}  // namespace trireme
