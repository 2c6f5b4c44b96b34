// What all ranks do before a pass, as the first rank says.
#pragma once

#include <cstdint>
#include <vector>

#include "models/inference/generator.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct PassNews {
  std::vector<int64_t> ended;            ///< numbers of the generator: nobody wants these any more
  std::vector<GenerationRequest> added;  ///< in the order of their numbers
  bool is_end = false;                   ///< of the server

  bool is_empty() const { return ended.empty() && added.empty() && !is_end; }
};

/// Numbers of which the largest of all ranks' counts.
struct PassNumbers {
  int64_t signal = 0;         ///< that one of them has; 0: none
  int64_t prompt_tokens = 0;  ///< Generator::limit_prompts(), of rank 0; the others have 0
};

/// Rank 0's news on all ranks, which all call it; on rank 0 they keep their filters. Nothing new costs an
/// exchange of 24 bytes. `numbers` become those of all ranks.
PassNews exchange(Context& ctx, Communicator& world, PassNews own, PassNumbers& numbers);

}  // namespace trireme::launch
