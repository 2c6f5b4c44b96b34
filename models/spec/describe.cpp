#include "models/spec/describe.h"

#include <utility>

namespace trireme {

namespace {

template <class Parameters>
LayerDescription layer_of(Parameters parameters, LayerProducts products) {
  LayerDescription layer{.blocks = {}, .products = std::move(products)};
  ParameterBlocks blocks;
  parameters.collect(blocks);
  for (ParameterBlock* block : blocks) layer.blocks.push_back(std::move(*block));
  return layer;
}

}  // namespace

std::vector<LayerDescription> describe(const ModelSpec& spec, const RankShare& share,
                                       bool holds_copy_of_tied) {
  const ParameterDescription parameters(spec, share);
  std::vector<LayerProducts> products = describe_products(spec);
  std::vector<LayerDescription> layers;
  layers.push_back(layer_of(parameters.embedding(), std::move(products.front())));
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    const bool has_own = spec.weights_of(i) == i;
    layers.push_back(layer_of(has_own ? parameters.block(i) : BlockParameters(),
                              std::move(products[static_cast<size_t>(i) + 1])));
  }
  layers.push_back(layer_of(parameters.head(!holds_copy_of_tied), std::move(products.back())));
  return layers;
}

std::vector<LayerProducts> describe_products(const ModelSpec& spec) {
  std::vector<LayerProducts> layers(1);  // the embedding has none
  for (const BlockSpec& block : spec.blocks) layers.push_back(describe_products(spec, block));
  layers.push_back(describe_head_products(spec));
  return layers;
}

std::vector<std::vector<Parameter>> parameters_by_layer(const ModelSpec& spec) {
  std::vector<std::vector<Parameter>> layers;
  for (LayerDescription& layer : describe(spec)) {
    auto& parameters = layers.emplace_back();
    for (ParameterBlock& block : layer.blocks) {
      for (Parameter& p : block.members) parameters.push_back(std::move(p));
    }
  }
  return layers;
}

std::vector<std::string> router_names(const ModelSpec& spec) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    if (spec.blocks[static_cast<size_t>(i)].mixture) names.push_back(router_name(i));
  }
  return names;
}

}  // namespace trireme
