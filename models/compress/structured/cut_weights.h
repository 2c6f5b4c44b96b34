// The weights of a model without the units that were cut.
#pragma once

#include <memory>

#include "models/compress/structured/cut.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// What `source` has of `config`'s model, as parameters of cut_config(config, cut, kept): layers numbered
/// anew, rows and columns of cut units left out, routers without the experts that went. Reads of `source`
/// only what is asked for.
std::shared_ptr<const WeightSource> cut_weights(std::shared_ptr<const WeightSource> source,
                                                const ModelConfig& config, const StructuredCut& cut,
                                                const KeptUnits& kept);

}  // namespace trireme
