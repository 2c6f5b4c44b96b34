#include "models/transformer/checkpointed_transformer.h"

namespace trireme {

CheckpointedModel checkpointed(Transformer& model) {
  return {model.part(), parameters_by_layer(model.config()), model.placement()};
}

}  // namespace trireme
