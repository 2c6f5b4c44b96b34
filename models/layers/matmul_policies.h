// Which linear layers of a model use FP8 products.
#pragma once

#include <string_view>

#include "parallel/module/parameter.h"
#include "parallel/tensor_parallel/linear_products.h"

namespace trireme {

/// What a run asks for; each layer asks when it is made.
struct MatmulPolicies {
  bool float8 = false;  ///< the linear layers of the blocks multiply in 8 bits

  /// Of the layer with this matrix, "layers.3.ffn.up.weight". Routers, experts, the head and what lies
  /// outside of blocks multiply in the type of their tensors.
  MatmulPolicy of(const ParameterBlock& weight) const {
    const std::string_view name = weight.members.front().name;
    const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
    const bool in_8_bits = float8 && name.starts_with("layers.") && !has(".router") && !has(".experts.");
    return {in_8_bits ? WeightFormat::float8 : WeightFormat::plain};
  }
};

}  // namespace trireme
