// Checks that all replicas of weights agree.
#pragma once

#include <string>

#include "models/transformer/transformer.h"

namespace trireme::launch {

/// On rank 0: empty where ranks that hold the same part of a parameter hold the same bits, of its master and
/// of what layers compute with, and the latter are the former, rounded (but where weights have no masters).
/// Else a sentence on the first parameter, in the order of the forward pass, that does not. All ranks call
/// it.
std::string differing_weight_copies(Context& ctx, const ParallelContext& parallel, Transformer& model);

}  // namespace trireme::launch
