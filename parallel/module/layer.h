// Layer: the interface of trainable layers, with explicit forward and backward passes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "parallel/module/layer_statistics.h"
#include "parallel/module/micro_batch.h"
#include "parallel/module/parameter.h"
#include "parallel/module/saved.h"

namespace trireme {

/// A piece of a stage with an explicit backward pass. For one micro-batch the calls are forward,
/// backward_input, backward_weight, in this order and with the same Saved; other micro-batches may come
/// between. Gradients of parameters are added to, as sums over tokens; vectors (gains), and the matrices of a
/// layer that would otherwise keep too much, may receive theirs in backward_input already.
class Layer {
 public:
  virtual ~Layer() = default;
  /// The output for input x ([rows, C]; undefined for a layer that begins with tokens, as is the output of
  /// one that ends in a loss).
  virtual Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) = 0;
  /// The gradient of x, given that of the output. Keeps in `saved` what backward_weight needs, and lets go of
  /// the rest.
  virtual Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) = 0;
  /// Adds to the parameters' gradients and clears `saved`. Reads no weights: they may be gone by then.
  virtual void backward_weight(Context& ctx, Saved& saved) = 0;
  /// Whether backward_input reads the weights of the layer's blocks; forward always may.
  virtual bool backward_reads_weights() const { return true; }
  /// Appends the blocks that the layer reads and adds gradients to, in the order of the forward pass. Others
  /// may use them too (shared layers, a tied head).
  virtual void collect(std::vector<ParameterBlock*>& blocks) = 0;
  /// What reports call it; empty: what the names of its parameters have in common.
  virtual std::string name() const { return ""; }
  /// Appends what its parts count in a step.
  virtual void collect_statistics(std::vector<LayerStatistics*>&) {}
};

/// Called before the backward pass of a layer, with the blocks whose gradients it adds to.
using GradientsExpected = std::function<void(std::span<const ParameterBlock* const>)>;
/// Called when a layer adds nothing more to the gradients of its blocks in this step. Other layers may.
using GradientsReady = std::function<void(std::span<ParameterBlock* const>)>;

}  // namespace trireme
