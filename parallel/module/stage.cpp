#include "parallel/module/stage.h"

#include <optional>
#include <utility>

#include "parallel/module/distinct_blocks.h"
#include "runtime/comm/record/recorder.h"

namespace trireme {

namespace {

// What the names of the layer's parameters have in common, up to a dot; where that is nothing, the first
// one's without its end.
std::string common_name(std::span<ParameterBlock* const> blocks) {
  std::optional<std::string> common;
  for (const ParameterBlock* block : blocks) {
    for (const Parameter& p : block->members) {
      if (!common) common = p.name.substr(0, p.name.rfind('.'));
      while (!common->empty() && !p.name.starts_with(*common + ".")) {
        const size_t dot = common->rfind('.');
        common->resize(dot == std::string::npos ? 0 : dot);
      }
    }
  }
  if (!common || !common->empty()) return common.value_or("");
  const std::string& first = blocks.front()->members.front().name;
  return first.substr(0, first.rfind('.'));
}

}  // namespace

/// A rank is at a layer of a stage while this lives, and then at none.
class Stage::At {
 public:
  At(const Context& ctx, const Stage& stage, size_t layer) : recorder_(ctx.recorder()) {
    if (recorder_ != nullptr) recorder_->set_layer(stage.first_layer_ + static_cast<int32_t>(layer));
  }
  ~At() {
    if (recorder_ != nullptr) recorder_->set_layer(-1);
  }
  At(const At&) = delete;
  At& operator=(const At&) = delete;

 private:
  Recorder* recorder_;
};

Stage::Stage(std::vector<std::unique_ptr<Layer>> layers, int first_layer)
    : first_layer_(first_layer), layers_(std::move(layers)) {
  for (const auto& layer : layers_) {
    auto& blocks = blocks_of_layer_.emplace_back();
    layer->collect(blocks);
    for (ParameterBlock* block : blocks) {
      if (block->owner == nullptr) block->owner = layer.get();
    }
    const auto& used = used_by_layer_.emplace_back(blocks.begin(), blocks.end());
    auto& read = read_in_backward_.emplace_back();
    if (layer->backward_reads_weights()) read = used;
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    std::string name = layers_[i]->name();
    if (name.empty()) name = common_name(blocks_of_layer_[i]);
    observed_.push_back({std::move(name), i, blocks_of_layer_[i]});
  }
}

ScopedWeights Stage::hold_for_forward(Context& ctx, size_t layer) const {
  std::span<const ParameterBlock* const> next;
  if (layer + 1 < layers_.size()) next = used_by_layer_[layer + 1];
  return ScopedWeights(ctx, access_, used_by_layer_[layer], next);
}

Tensor Stage::forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, StageSaved& saved) {
  saved.clear();
  if (!micro_batch.training) return infer(ctx, micro_batch, input, layers_.size());
  saved.resize(layers_.size());
  Tensor x = input;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const At at(ctx, *this, i);
    const ScopedWeights held = hold_for_forward(ctx, i);
    tell(i, &StageObserver::before_forward, ctx);
    x = layers_[i]->forward(ctx, micro_batch, x, saved[i]);
    tell(i, &StageObserver::after_forward, ctx, x);
  }
  return x;
}

Tensor Stage::infer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t num_layers) {
  Tensor x = input;
  for (size_t i = 0; i < num_layers; ++i) x = infer_layer(ctx, micro_batch, x, i);
  return x;
}

Tensor Stage::infer_layer(Context& ctx, const MicroBatch& micro_batch, const Tensor& input, size_t layer) {
  const At at(ctx, *this, layer);
  const ScopedWeights held = hold_for_forward(ctx, layer);
  Saved dropped;
  return layers_[layer]->forward(ctx, micro_batch, input, dropped);
}

Tensor Stage::backward_input_of(Context& ctx, size_t layer, const Tensor& dy, Saved& saved) {
  std::span<const ParameterBlock* const> next;
  if (layer > 0) next = read_in_backward_[layer - 1];
  const ScopedWeights held(ctx, access_, read_in_backward_[layer], next);
  const Tensor dx = layers_[layer]->backward_input(ctx, dy, saved);
  tell(layer, &StageObserver::after_backward_input, ctx, dx);
  return dx;
}

Tensor Stage::backward(Context& ctx, const Tensor& doutput, StageSaved& saved, const GradientsReady& ready,
                       const GradientsExpected& expected) {
  Tensor dy = doutput;
  for (size_t i = layers_.size(); i-- > 0;) {
    const At at(ctx, *this, i);
    if (expected) expected(used_by_layer_[i]);
    dy = backward_input_of(ctx, i, dy, saved[i]);
    layers_[i]->backward_weight(ctx, saved[i]);
    tell(i, &StageObserver::after_backward_weight, ctx);
    if (ready) ready(blocks_of_layer_[i]);
  }
  return dy;
}

Tensor Stage::backward_input(Context& ctx, const Tensor& doutput, StageSaved& saved,
                             const GradientsExpected& expected) {
  Tensor dy = doutput;
  for (size_t i = layers_.size(); i-- > 0;) {
    const At at(ctx, *this, i);
    if (expected) expected(used_by_layer_[i]);
    dy = backward_input_of(ctx, i, dy, saved[i]);
  }
  return dy;
}

void Stage::backward_weight(Context& ctx, StageSaved& saved, const GradientsReady& ready) {
  for (size_t i = layers_.size(); i-- > 0;) {
    const At at(ctx, *this, i);
    layers_[i]->backward_weight(ctx, saved[i]);
    tell(i, &StageObserver::after_backward_weight, ctx);
    if (ready) ready(blocks_of_layer_[i]);
  }
}

void Stage::enter(int64_t index, const MicroBatch& micro_batch, int stage) {
  for (StageObserver* observer : observers_) observer->enter(index, micro_batch, stage);
}

std::vector<ParameterBlock*> Stage::blocks() const {
  std::vector<ParameterBlock*> all;
  for (const auto& blocks : blocks_of_layer_) append_new(all, blocks);
  return all;
}

std::vector<LayerStatistics*> Stage::statistics() const {
  std::vector<LayerStatistics*> all;
  for (const auto& layer : layers_) layer->collect_statistics(all);
  return all;
}

}  // namespace trireme
