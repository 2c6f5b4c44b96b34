#include "models/inference/row_scores.h"

#include <cmath>

#include "models/inference/likeliest_tokens.h"
#include "runtime/base/error.h"

namespace trireme {

ops::cpu::LargestLogit sound_largest(std::span<const float> logits) {
  TRIREME_CHECK(!logits.empty());
  const ops::cpu::LargestLogit largest = ops::cpu::largest_logit(logits);
  if (!largest.is_sound) {
    throw_user(ExitCode::numerics,
               "no token can be chosen: a logit of the model is not a number, or infinite; its weights are "
               "damaged, or too large for the type that it computes in");
  }
  return largest;
}

RowScores::RowScores(std::span<const float> logits) : logits_(logits) {
  const float largest = sound_largest(logits).value;
  log_sum_ = largest + std::log(ops::cpu::sum_of_exps(logits, largest));
}

double RowScores::log_probability(int32_t token) const {
  return static_cast<double>(logits_[static_cast<size_t>(token)]) - log_sum_;
}

std::vector<TokenScore> RowScores::likeliest(int64_t count) const {
  std::vector<TokenScore> scores;
  for (const RankedToken& token : likeliest_tokens(logits_, count)) scores.push_back(score(token.token));
  return scores;
}

}  // namespace trireme
