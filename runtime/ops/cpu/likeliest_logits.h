// The largest logits of a row on the host, by selection instead of sorting.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace trireme::ops::cpu {

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

/// The `count` (at most their number) likeliest, in no order; there is no NaN.
std::vector<RankedToken> select_likeliest(std::span<const float> logits, int64_t count);

/// The `count` likeliest (or all), in their order; there is no NaN.
std::vector<RankedToken> likeliest_tokens(std::span<const float> logits, int64_t count);

}  // namespace trireme::ops::cpu
