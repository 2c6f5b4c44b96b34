// What a step folded, for report, log and a later attempt; and how many sets of weights it leaves.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/compress/recipe.h"
#include "models/compress/structured/fold.h"

namespace trireme::launch {

/// Weights that a set could take, and the loss of the model with them, nats a token.
struct FoldTrial {
  int64_t values = 0;
  double loss = 0;
};

struct ShareOutcome {
  std::vector<FoldedSet> sets;
  std::vector<std::vector<FoldTrial>> trials;  ///< of each set whose turn has been; of one layer none
  LayerLikeness likeness;

  bool is_decided() const { return trials.size() == sets.size(); }
};

nlohmann::ordered_json json_of(const ShareOutcome& outcome);
/// UserError (bad_input) naming `where` for what is none.
ShareOutcome share_outcome_of(const nlohmann::json& json, const std::string& where);

/// "layer 3", "their mean".
std::string values_text(int64_t values);

/// How many sets of weights are left: the number or part that the step names, or the most with which the
/// model's parameters are no more than the part that `size` names. UserError (usage) where that is all of
/// them, or none is possible.
int64_t sets_left(const ShareStep& step, const ModelConfig& config);
/// The config that the step leaves, but for which layers share.
ModelConfig planned_config(const ModelConfig& config, const ShareStep& step);

}  // namespace trireme::launch
