// What a model consists of, layer by layer: the one description that layers, sizes, placement and memory
// follow from.
#pragma once

#include <vector>

#include "models/spec/describe_parameters.h"
#include "models/spec/describe_products.h"

namespace trireme {

struct LayerDescription {
  std::vector<ParameterBlock> blocks;  ///< those that the rank holds, in the order of the forward pass
  LayerProducts products;              ///< of the whole layer
};

/// Embedding, blocks, head. `holds_copy_of_tied`: the embedding is on another pipeline rank than a tied head.
std::vector<LayerDescription> describe(const ModelSpec& spec, const RankShare& share = {},
                                       bool holds_copy_of_tied = false);

/// Their products alone.
std::vector<LayerProducts> describe_products(const ModelSpec& spec);

/// The parameters of the whole model, layer by layer. A tied head has no matrix of its own.
std::vector<std::vector<Parameter>> parameters_by_layer(const ModelSpec& spec);

}  // namespace trireme
