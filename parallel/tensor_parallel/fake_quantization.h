// Quantization-aware training: linear layers that compute, forward, what the quantized model will.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "parallel/module/parameter.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme {

/// How a linear layer's forward product is quantized. The product is that of the kernels which multiply by
/// packed weights, of the codes that rounding to nearest gives at export: the same bits. Gradients pass
/// straight through the rounding (arXiv 1308.3432): that of the input is dy · w' with w' the values of the
/// codes, that of the weights dy^T · x.
struct FakeQuantization {
  enum class Scales : uint8_t {
    measured,  ///< from each group's values, every time
    learned,   ///< parameters of their own (LSQ, arXiv 1902.08153), begun with the measured ones
  };
  ops::PackedSpec weights = {};  ///< f32: none
  ops::Activations activations = ops::Activations::exact;
  Scales scales = Scales::measured;
  /// False as long as layers compute with the weights as they are; null: always on. Nobody changes it between
  /// a forward pass and its backward pass.
  std::shared_ptr<const bool> on = nullptr;

  explicit operator bool() const { return ops::is_integer(weights.format); }
  friend bool operator==(const FakeQuantization&, const FakeQuantization&) = default;
};

/// A block of matrices as the products of a layer take it: as it is, or quantized. Works on blocks that
/// somebody else owns.
class QuantizedWeight {
 public:
  /// `scales`: of learned ones; else null or empty.
  QuantizedWeight(const ParameterBlock& weight, FakeQuantization how, const ParameterBlock* scales = nullptr)
      : weight_(&weight), scales_(scales), how_(std::move(how)) {}

  /// Whether it is quantized now.
  bool is_on() const { return how_ && !weight_->packed && (!how_.on || *how_.on); }
  /// For forward products: packed codes of the weights as they are now; of experts one part with all of them.
  /// UserError (bad_input) naming the block where a weight is not finite.
  WeightView forward(Context& ctx) const;
  /// For products of the backward pass: the values of these codes.
  WeightView backward(Context& ctx) const;
  /// What add_gradient() needs of the weights, which are there until it is called: to be taken in
  /// backward_input.
  Tensor kept() const { return is_on() && learns() ? weight_->weight : Tensor(); }
  /// Adds to the gradients of weights and scales. `multiply` adds that of the values to the f32 tensor it is
  /// given, which is undefined where the block is frozen.
  void add_gradient(Context& ctx, const Tensor& kept,
                    const std::function<void(const Tensor& dvalues)>& multiply) const;

 private:
  bool learns() const { return scales_ != nullptr && *scales_; }
  Tensor log_scales() const { return learns() ? scales_->weight : Tensor(); }
  int64_t num_matrices() const;

  const ParameterBlock* weight_;
  const ParameterBlock* scales_;
  FakeQuantization how_;
};

}  // namespace trireme
