// RowScores: how likely tokens are by a row of logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/inference/sampling.h"
#include "runtime/ops/cpu/logit_rows.h"

namespace trireme {

/// The largest of a row; UserError (numerics) where one is NaN or +infinity, or all are -infinity.
ops::cpu::LargestLogit sound_largest(std::span<const float> logits);

class RowScores {
 public:
  /// Two passes over the logits [V], which outlive it. UserError as sound_largest().
  explicit RowScores(std::span<const float> logits);

  /// Natural log of softmax(logits) at `token`, which is below V.
  double log_probability(int32_t token) const;
  TokenScore score(int32_t token) const { return {token, static_cast<float>(log_probability(token))}; }
  /// The `count` likeliest (all, if V is smaller), the likeliest first, of equals the first; no sort of the
  /// vocabulary.
  std::vector<TokenScore> likeliest(int64_t count) const;

 private:
  std::span<const float> logits_;
  double log_sum_;
};

}  // namespace trireme
