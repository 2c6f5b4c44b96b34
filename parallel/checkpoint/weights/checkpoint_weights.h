// Weights in a checkpoint, of whatever layout.
#pragma once

#include <memory>
#include <string>

#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// Maps the files of the checkpoint `directory`, and reads across its slices; weights and routers' biases
/// alone. What is read is checked: a slice that read() or stored() comes to, whole, at its first use, by its
/// hash. UserError (checkpoint) as read_manifest(), and naming file and tensor where they are damaged.
std::unique_ptr<WeightSource> open_checkpoint_weights(const std::string& directory);

}  // namespace trireme
