#include "models/transformer/parameter_registry.h"

#include "models/spec/describe_parameters.h"

namespace trireme {

std::shared_ptr<EmbeddingParameters> ParameterRegistry::embedding() {
  if (!embedding_) {
    embedding_ = held(ParameterDescription(spec_, share_).embedding());
    mark(embedding_->tokens, 0);
  }
  return embedding_;
}

std::shared_ptr<BlockParameters> ParameterRegistry::block(int64_t index) {
  const int64_t source = spec_.weights_of(index);
  auto& parameters = blocks_[source];
  if (!parameters) {
    parameters = held(ParameterDescription(spec_, share_).block(source));
    ParameterBlocks blocks;
    parameters->collect(blocks);
    for (ParameterBlock* block : blocks) mark(*block, 1 + source);
  }
  return parameters;
}

std::shared_ptr<HeadParameters> ParameterRegistry::head() {
  const auto parameters = held(ParameterDescription(spec_, share_).head(embedding_ != nullptr));
  if (spec_.head.tied && parameters->weight) mark(parameters->weight, 0);
  return parameters;
}

// A block that the layer at `place` of the row of layers is the first to use.
void ParameterRegistry::mark(ParameterBlock& block, int64_t place) const {
  block.holders = holders_.set_of(place);
  for (Parameter& p : block.members) p.is_tied_copy = holders_.rank_of(place) != rank_;
}

}  // namespace trireme
