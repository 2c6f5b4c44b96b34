// How models predict given tokens, one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "launch/evaluate/logit_passes.h"
#include "models/inference/cached_model.h"

namespace trireme::launch {

/// In the order of the sequences, and within them of the tokens that are predicted.
struct TokenScores {
  std::vector<float> losses;  ///< -log probability, in nats
  /// With a reference:
  std::vector<float> reference_losses;
  std::vector<float> divergences;  ///< KL(reference || model) of the distributions, in nats
  std::vector<float> same_top;     ///< 1 where both have the same likeliest token, else 0
};

/// Of targets[i], predicted by the sequences' i-th logit. All ranks of the models call it alike and get all.
/// `reference`: a model of the same vocabulary, or null.
TokenScores score_tokens(Context& ctx, CachedModel& model, CachedModel* reference,
                         std::span<const KnownSequence> sequences, std::span<const int32_t> targets,
                         const PassLimits& limits);

}  // namespace trireme::launch
