// What a model consists of, layer by layer: the one description that layers, sizes, placement and memory
// follow from.
#pragma once

#include <string>
#include <vector>

#include "models/spec/describe_parameters.h"
#include "models/spec/describe_products.h"

namespace trireme {

struct LayerDescription {
  /// Those that the rank holds, in the order of the forward pass; but none of which an earlier layer of the
  /// model uses.
  std::vector<ParameterBlock> blocks;
  LayerProducts products;  ///< of the whole layer
};

/// Embedding, blocks, head. `holds_copy_of_tied`: the embedding is on another pipeline rank than a tied head.
std::vector<LayerDescription> describe(const ModelSpec& spec, const RankShare& share = {},
                                       bool holds_copy_of_tied = false);

/// Their products alone.
std::vector<LayerProducts> describe_products(const ModelSpec& spec);

/// The parameters of the whole model, layer by layer, each where it is used first: a tied head has no matrix
/// of its own, a block that uses another's weights has none.
std::vector<std::vector<Parameter>> parameters_by_layer(const ModelSpec& spec);

/// The names of the model's routers, in the order of the forward pass. Blocks that share weights have each a
/// router of their own.
std::vector<std::string> router_names(const ModelSpec& spec);

}  // namespace trireme
