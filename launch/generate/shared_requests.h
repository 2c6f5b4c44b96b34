// What the first rank has read, on every rank.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/inference/generator.h"
#include "runtime/comm/communicator.h"

namespace trireme::launch {

/// What a generation is made of, beside the model.
struct SharedRequests {
  std::vector<GenerationRequest> requests;
  int64_t vocab_size = 0;  ///< tokens that may be drawn
  bool is_end = false;     ///< of a conversation: nothing more will come
};

/// Those of rank 0, on all ranks of `world`, which all call it.
SharedRequests share(Communicator& world, const SharedRequests& own);

/// A request as JSON that generation_of() reads back; without its filter, which is the first rank's.
nlohmann::json json_of(const GenerationRequest& request);
GenerationRequest generation_of(const nlohmann::json& json);

/// Rank 0's number, on all ranks.
int64_t share_number(Communicator& world, int64_t own);

}  // namespace trireme::launch
