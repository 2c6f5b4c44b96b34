// Plants one non-finite value into a training step, and says what must be found.
#pragma once

#include <optional>

#include "parallel/module/stage_observer.h"
#include "parallel/training/nonfinite.h"

namespace trireme::test {

/// Where to plant; `choice` picks the block, its member and the element among those that are there.
struct Injection {
  NonFiniteKind kind = NonFiniteKind::activation;
  bool of_weight = false;  ///< gradients: that of a weight, not that of a layer's input
  int rank = 0;            ///< of the world
  int64_t micro_batch = 0;
  int stage = 0;     ///< virtual stage
  size_t layer = 0;  ///< in the stage
  uint32_t choice = 0;
  float value = 0;  ///< an infinity or NaN
};

class Injector final : public StageObserver {
 public:
  Injector(const Injection& injection, int world_rank) : injection_(injection), rank_(world_rank) {}

  void enter(int64_t index, const MicroBatch& micro_batch, int stage) override {
    index_ = index;
    stage_ = stage;
    first_sample_ = micro_batch.first_sample;
    num_samples_ = micro_batch.batch;
  }
  void before_forward(Context&, const ObservedLayer& layer) override {
    if (injection_.kind != NonFiniteKind::weight || !is_here(layer)) return;
    // Of the embedding only the table of tokens: a position after the sample's end takes part in nothing.
    const bool is_table = layer.name == "embedding";
    const ParameterBlock& block = *layer.blocks[is_table ? 0 : injection_.choice % layer.blocks.size()];
    plant_in_block(block, block.weight, layer);
  }
  void after_forward(Context&, const ObservedLayer& layer, const Tensor& y) override {
    if (injection_.kind == NonFiniteKind::activation && y && is_here(layer)) plant(y, layer, "output");
  }
  void after_backward_input(Context&, const ObservedLayer& layer, const Tensor& dx) override {
    const bool wanted = injection_.kind == NonFiniteKind::gradient && !injection_.of_weight;
    if (wanted && dx && is_here(layer)) plant(dx, layer, "input gradient");
  }
  void after_backward_weight(Context&, const ObservedLayer& layer) override {
    if (injection_.kind != NonFiniteKind::gradient || !injection_.of_weight || !is_here(layer)) return;
    const ParameterBlock& block = *layer.blocks[injection_.choice % layer.blocks.size()];
    plant_in_block(block, block.gradient, layer);
  }

  /// What was planted; nothing on other ranks.
  const std::optional<NonFinite>& planted() const { return planted_; }
  /// Gives a weight its value back.
  void restore() {
    if (weight_) set(weight_, weight_index_, before_);
  }

 private:
  bool is_here(const ObservedLayer& layer) const {
    return injection_.rank == rank_ && injection_.micro_batch == index_ && injection_.stage == stage_ &&
           layer.index == injection_.layer;
  }
  static float get(const Tensor& t, int64_t i) {
    if (t.dtype() == DType::bf16) return t.data<bf16>()[i];
    return t.dtype() == DType::f16 ? static_cast<float>(t.data<fp16>()[i]) : t.data<float>()[i];
  }
  static void set(const Tensor& t, int64_t i, float value) {
    if (t.dtype() == DType::bf16) {
      t.data<bf16>()[i] = bf16(value);
    } else if (t.dtype() == DType::f16) {
      t.data<fp16>()[i] = fp16(value);
    } else {
      t.data<float>()[i] = value;
    }
  }
  int64_t plant(const Tensor& t, const ObservedLayer& layer, const std::string& name) {
    const int64_t element = injection_.choice % t.numel();
    set(t, element, injection_.value);
    planted_ =
        NonFinite{injection_.kind, layer.name, name, element, rank_, index_, first_sample_, num_samples_};
    return element;
  }
  void plant_in_block(const ParameterBlock& block, const Tensor& t, const ObservedLayer& layer) {
    const int64_t at = injection_.choice % t.numel();
    if (injection_.kind == NonFiniteKind::weight && !weight_) {
      weight_ = t;
      weight_index_ = at;
      before_ = get(t, at);
    }
    const int64_t element = plant(t, layer, "");
    int64_t begin = 0;
    for (const Parameter& p : block.members) {
      if (element >= begin && element < begin + p.shape.numel()) {
        planted_->tensor = p.name;
        planted_->element = element_of(p, element - begin);
      }
      begin += p.shape.numel();
    }
  }
  // In the whole tensor.
  static int64_t element_of(const Parameter& p, int64_t i) {
    if (p.shape.rank() == 1) return p.offset[0] + i;
    return (p.offset[0] + i / p.shape[1]) * p.global_shape[1] + p.offset[1] + i % p.shape[1];
  }

  Injection injection_;
  int rank_;
  int stage_ = 0;
  int64_t index_ = 0, first_sample_ = 0, num_samples_ = 0;
  std::optional<NonFinite> planted_;
  Tensor weight_;
  int64_t weight_index_ = 0;
  float before_ = 0;
};

}  // namespace trireme::test
