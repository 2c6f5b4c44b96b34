#include "models/config/distill_config.h"

#include <cmath>

#include <fmt/format.h>

namespace trireme {

std::vector<std::string> distill_errors(const DistillConfig& c, double label_smoothing) {
  std::vector<std::string> errors;
  const auto expect = [&](bool is_fine, std::string error) {
    if (!is_fine) errors.push_back(std::move(error));
  };
  expect(c.weight >= 0 && c.weight <= 1, fmt::format("weight {}: it is from 0 to 1", c.weight));
  expect(c.weight > 0 || c.hidden_weight > 0,
         "weight 0 without a weight of hidden states: nothing would be distilled");
  expect(c.temperature > 0 && std::isfinite(c.temperature),
         fmt::format("temperature {}: it is above 0", c.temperature));
  const bool is_skewed =
      c.divergence == DivergenceKind::skew_forward || c.divergence == DivergenceKind::skew_reverse;
  expect(
      !is_skewed || (c.skew > 0 && c.skew < 1),
      fmt::format("skew {}: it is between 0 and 1; without skew there are forward and reverse KL", c.skew));
  expect(c.divergence != DivergenceKind::jsd || (c.beta > 0 && c.beta < 1),
         fmt::format("beta {}: it is between 0 and 1; at the ends there are forward and reverse KL", c.beta));
  expect(c.hidden_weight >= 0 && std::isfinite(c.hidden_weight),
         fmt::format("a weight of hidden states of {}: it is not negative", c.hidden_weight));
  const bool is_few = c.tokens != TeacherTokens::all;
  expect(!is_few || c.num_tokens >= 1, fmt::format("{} tokens of a teacher: at least 1", c.num_tokens));
  expect(
      is_few || c.num_tokens == 0,
      fmt::format("{} tokens, where all of the teacher's count: choose top-k or sampled ones", c.num_tokens));
  expect(c.tokens != TeacherTokens::sampled || c.divergence == DivergenceKind::forward_kl,
         "sampled tokens estimate forward KL alone without bias: choose it, or top-k tokens, or all");
  expect(label_smoothing == 0 || c.weight < 1,
         fmt::format("label smoothing {} has no effect where weight is 1", label_smoothing));
  return errors;
}

}  // namespace trireme
