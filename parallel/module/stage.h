// Stage: one virtual stage (model chunk) of the pipeline: consecutive layers that one rank runs.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "parallel/module/layer.h"
#include "parallel/module/stage_observer.h"
#include "parallel/module/weight_access.h"

namespace trireme {

/// The Saved of each layer for one micro-batch.
using StageSaved = std::vector<Saved>;

/// Runs layers in order and knows nothing of what they compute.
class Stage {
 public:
  /// `first_layer`: the number of the first one in the model, as CallSite::layer counts them.
  explicit Stage(std::vector<std::unique_ptr<Layer>> layers, int first_layer = 0);

  /// From now on layers run between calls of `access`, which outlives their use. Null, as at first: weights
  /// are always there.
  void set_weight_access(WeightAccess* access) { access_ = access; }
  /// The weights that a layer's forward pass reads: for a caller who runs that layer by itself, too.
  ScopedWeights hold_for_forward(Context& ctx, size_t layer) const;

  /// The last layer's output. `input` is undefined on the first stage. When the micro-batch is not for
  /// training, `saved` stays empty.
  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, StageSaved& saved);
  /// The output of the first `num_layers` layers; nothing is kept for a backward pass.
  Tensor infer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t num_layers);
  /// The output of one layer; nothing is kept for a backward pass.
  Tensor infer_layer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t layer);
  /// The whole backward pass, layer by layer: `expected`, input gradient, weight gradient, then `ready` for
  /// its blocks (those that it shares too). Both may be empty.
  Tensor backward(Context& ctx, const Tensor& doutput, StageSaved& saved, const GradientsReady& ready,
                  const GradientsExpected& expected = {});
  /// The two halves for schedules that split the backward pass.
  Tensor backward_input(Context& ctx, const Tensor& doutput, StageSaved& saved,
                        const GradientsExpected& expected = {});
  void backward_weight(Context& ctx, StageSaved& saved, const GradientsReady& ready);

  /// Calls `observer` on every pass from now on, after earlier observers. It must outlive the stage or be
  /// removed by ignore().
  void observe(StageObserver& observer) { observers_.push_back(&observer); }
  /// StageObserver::enter, for all observers.
  void enter(int64_t index, const MicroBatch& micro_batch, int stage = 0);
  void ignore(StageObserver& observer) { std::erase(observers_, &observer); }

  size_t num_layers() const { return layers_.size(); }
  /// The blocks that a layer uses (Layer::collect).
  std::span<ParameterBlock* const> blocks_of(size_t layer) const { return blocks_of_layer_[layer]; }
  /// All blocks, each once, in the order of the forward pass.
  std::vector<ParameterBlock*> blocks() const;
  /// The statistics of its layers, in the same order.
  std::vector<LayerStatistics*> statistics() const;

 private:
  template <class... Parameters, class... Arguments>
  void tell(size_t layer, void (StageObserver::*event)(Context&, const ObservedLayer&, Parameters...),
            Context& ctx, const Arguments&... arguments) {
    for (StageObserver* observer : observers_) (observer->*event)(ctx, observed_[layer], arguments...);
  }
  class At;
  Tensor backward_input_of(Context& ctx, size_t layer, const Tensor& dy, Saved& saved);

  int first_layer_;
  WeightAccess* access_ = nullptr;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::vector<ParameterBlock*>> blocks_of_layer_;
  std::vector<std::vector<const ParameterBlock*>> used_by_layer_;     // the same
  std::vector<std::vector<const ParameterBlock*>> read_in_backward_;  // of these, the ones it reads again
  std::vector<ObservedLayer> observed_;                               // one per layer
  std::vector<StageObserver*> observers_;
};

}  // namespace trireme
