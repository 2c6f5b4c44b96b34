// Which tokens the filters of SamplingOptions keep.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "models/inference/sampling.h"

namespace trireme {

struct RankedToken {
  float logit;
  int32_t token;
};

/// The order of tokens: by falling logits, of equals the first one first.
inline bool is_likelier(const RankedToken& a, const RankedToken& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

inline constexpr RankedToken kKeepAll{-std::numeric_limits<float>::infinity(),
                                      std::numeric_limits<int32_t>::max()};

/// Those whose logits are at least `bound`, as they come; there is no NaN.
std::vector<RankedToken> tokens_from(std::span<const float> logits, float bound);

/// The `count` likeliest (or all), in their order, by selection; there is no NaN.
std::vector<RankedToken> likeliest_tokens(std::span<const float> logits, int64_t count);

/// The last token in the order that top-k, top-p (of what top-k left) and min-p keep, or a place after it and
/// before the next; kKeepAll: all are kept. `largest` is the largest logit; there is no NaN. Takes no sort of
/// the vocabulary: a pass or two over it, and selection among what can be kept.
RankedToken last_kept(std::span<const float> logits, float largest, const SamplingOptions& options);

}  // namespace trireme
