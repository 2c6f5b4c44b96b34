// ExitLayer: what training for early exit does around a layer: dropout of whole layers, and exits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/layers/exit_streams.h"
#include "parallel/module/layer.h"

namespace trireme {

/// What a layer has to do with exits. All of it in training alone.
struct ExitRole {
  int64_t block = -1;     ///< number of the block; -1: it is none
  double dropout = 0;     ///< probability with which a sample passes it by
  bool may_skip = true;   ///< it is not run where all samples of a micro-batch pass it by
  bool is_exit = false;   ///< behind it is an exit
  bool receives = false;  ///< the first of a stage, to which kept streams come with its input
  bool sends = false;     ///< the last of a stage, whose output goes on with kept streams
  bool begins = false;    ///< of those of its stage that have to do with kept streams the first

  bool is_plain() const { return dropout == 0 && !is_exit && !receives && !sends; }
};

class ExitLayer final : public Layer {
 public:
  ExitLayer(std::unique_ptr<Layer> layer, const ExitRole& role, std::shared_ptr<ExitStreams> streams,
            const TensorParallel& tensor)
      : layer_(std::move(layer)), role_(role), streams_(std::move(streams)), tensor_(tensor) {}

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) override;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override;
  void backward_weight(Context& ctx, Saved& saved) override;
  bool backward_reads_weights() const override { return layer_->backward_reads_weights(); }
  void collect(std::vector<ParameterBlock*>& blocks) override { layer_->collect(blocks); }
  std::string name() const override { return layer_->name(); }
  void collect_statistics(std::vector<LayerStatistics*>& statistics) override {
    layer_->collect_statistics(statistics);
  }

 private:
  struct State;
  std::vector<bool> dropped(const MicroBatch& micro_batch) const;
  Tensor run(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, State& state);
  Tensor run_backward(Context& ctx, const Tensor& dy, State& state);

  std::unique_ptr<Layer> layer_;
  ExitRole role_;
  std::shared_ptr<ExitStreams> streams_;
  TensorParallel tensor_;
};

}  // namespace trireme
