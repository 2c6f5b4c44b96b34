// The ops of mixtures of experts, for benchmarks.
#pragma once

#include "launch/bench/op_cases.h"

namespace trireme {

/// Two of eight experts a token, as wide as the feed-forward part of GPT-2 124M, evenly loaded.
std::vector<OpCaseMaker> expert_cases();

}  // namespace trireme
