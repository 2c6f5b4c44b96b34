// Benchmark cases of MoE ops.
#pragma once

#include "launch/bench/op_cases.h"

namespace trireme::launch {

/// Two of eight experts per token, as wide as the feed-forward part of GPT-2 124M, evenly loaded.
std::vector<OpCaseMaker> expert_cases();

}  // namespace trireme::launch
