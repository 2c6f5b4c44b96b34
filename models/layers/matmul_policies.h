// Which linear layers of a model multiply otherwise than in the type of their tensors.
#pragma once

#include <memory>
#include <string_view>

#include "models/config/quantization_config.h"
#include "parallel/module/parameter.h"
#include "parallel/tensor_parallel/linear_products.h"

namespace trireme {

/// What a run asks for; each layer asks when it is made.
struct MatmulPolicies {
  bool float8 = false;                              ///< the linear layers of the blocks multiply in 8 bits
  QuantizationConfig quantization = {};             ///< matrices are trained through it
  std::shared_ptr<const bool> quantizes = nullptr;  ///< FakeQuantization::on

  /// Of the layer with this matrix, "layers.3.ffn.up.weight". In 8 bits: routers, experts, the head and what
  /// lies outside of blocks multiply in the type of their tensors.
  MatmulPolicy of(const ParameterBlock& weight) const {
    const std::string_view name = weight.members.front().name;
    const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
    const bool in_8_bits = float8 && name.starts_with("layers.") && !has(".router") && !has(".experts.");
    MatmulPolicy policy{.operands = in_8_bits ? WeightFormat::float8 : WeightFormat::plain};
    const auto spec = quantization.spec_of(name);
    if (!spec) return policy;
    policy.quantization = {.weights = *spec,
                           .activations = quantization.activations,
                           .scales = quantization.learns_scales_of(name) ? FakeQuantization::Scales::learned
                                                                         : FakeQuantization::Scales::measured,
                           .on = quantizes};
    return policy;
  }
};

}  // namespace trireme
