#include "models/transformer/checkpointed_transformer.h"

#include "models/spec/describe.h"

namespace trireme {

CheckpointedModel checkpointed(Transformer& model) {
  const ModelSpec& spec = model.spec();
  return {model.part(), parameters_by_layer(spec), router_names(spec), model.placement()};
}

}  // namespace trireme
