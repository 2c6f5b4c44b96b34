// Where a model and what is read of the GGUF file that holds it would compute different things.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// What an option's value is in both, where it matters.
struct GgufDifference {
  std::string option;       ///< "model.window"
  std::string mine, other;  ///< the second with "(block N)" where the first blocks agree
};

/// The options through which the models compute different things on equal weights, or have other weights;
/// numbers that an fp32 rounds to one are equal. What only training reads (initial weights, losses of
/// routers) does not count, nor what has no effect beside the rest: a window as long as the positions, the
/// family, factors of a RoPE that is not scaled.
std::vector<GgufDifference> gguf_differences(const ModelConfig& mine, const ModelConfig& other);

/// "model.window 64, not 0; model.tied off, not on".
std::string text_of(const std::vector<GgufDifference>& differences);

}  // namespace trireme
