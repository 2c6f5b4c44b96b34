// Recomputed: activation recomputation of a layer (Chen et al., arXiv 1604.06174).
#pragma once

#include <memory>
#include <string>

#include "parallel/module/layer.h"

namespace trireme {

/// Wraps any layer. In training forward keeps the layer's input and lets go of all the rest; backward_input
/// first runs the layer's forward again, with collectives and all: ranks that share them recompute in the
/// same order, since they run their backward passes in the same order. From then on it is the layer itself. A
/// loss is not added a second time. The layer's forward must give the same bits for the same input.
class Recomputed final : public Layer {
 public:
  explicit Recomputed(std::unique_ptr<Layer> layer) : layer_(std::move(layer)) {}

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  void collect(std::vector<ParameterBlock*>& blocks) override { layer_->collect(blocks); }
  std::string name() const override { return layer_->name(); }
  void collect_statistics(std::vector<LayerStatistics*>& statistics) override {
    layer_->collect_statistics(statistics);
  }

 private:
  std::unique_ptr<Layer> layer_;
};

}  // namespace trireme
