// Gathers a full parameter from tensor-parallel shards.
#pragma once

#include "parallel/module/parameter.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// On rank 0 of `tensor` the whole tensor of which each rank passes its block (weights, or anything laid out
/// as these); undefined on the others. Every rank calls it, for the same parameter.
Tensor gather_parameter(Context& ctx, Communicator& tensor, const Parameter& parameter, const Tensor& block);

}  // namespace trireme
