#include "parallel/module/stage.h"

namespace trireme {

Stage::Stage(std::vector<std::unique_ptr<Layer>> layers) : layers_(std::move(layers)) {
  for (const auto& layer : layers_) {
    auto& own = blocks_of_layer_.emplace_back();
    layer->collect(own);
    auto& used = used_by_layer_.emplace_back(own.begin(), own.end());
    layer->collect_shared(used);
  }
}

Tensor Stage::forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, StageSaved& saved) {
  saved.clear();
  if (!micro_batch.training) return infer(ctx, micro_batch, input, layers_.size());
  saved.resize(layers_.size());
  Tensor x = input;
  for (size_t i = 0; i < layers_.size(); ++i) x = layers_[i]->forward(ctx, micro_batch, x, saved[i]);
  return x;
}

Tensor Stage::infer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t num_layers) {
  Tensor x = input;
  for (size_t i = 0; i < num_layers; ++i) {
    Saved dropped;
    x = layers_[i]->forward(ctx, micro_batch, x, dropped);
  }
  return x;
}

Tensor Stage::backward(Context& ctx, const Tensor& doutput, StageSaved& saved, const GradientsReady& ready,
                       const GradientsExpected& expected) {
  Tensor dy = doutput;
  for (size_t i = layers_.size(); i-- > 0;) {
    if (expected) expected(used_by_layer_[i]);
    dy = layers_[i]->backward_input(ctx, dy, saved[i]);
    layers_[i]->backward_weight(ctx, saved[i]);
    if (ready) ready(blocks_of_layer_[i]);
  }
  return dy;
}

Tensor Stage::backward_input(Context& ctx, const Tensor& doutput, StageSaved& saved,
                             const GradientsExpected& expected) {
  Tensor dy = doutput;
  for (size_t i = layers_.size(); i-- > 0;) {
    if (expected) expected(used_by_layer_[i]);
    dy = layers_[i]->backward_input(ctx, dy, saved[i]);
  }
  return dy;
}

void Stage::backward_weight(Context& ctx, StageSaved& saved, const GradientsReady& ready) {
  for (size_t i = layers_.size(); i-- > 0;) {
    layers_[i]->backward_weight(ctx, saved[i]);
    if (ready) ready(blocks_of_layer_[i]);
  }
}

std::vector<ParameterBlock*> Stage::blocks() const {
  std::vector<ParameterBlock*> all;
  for (const auto& blocks : blocks_of_layer_) all.insert(all.end(), blocks.begin(), blocks.end());
  return all;
}

}  // namespace trireme
