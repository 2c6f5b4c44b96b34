#include "launch/compress/share_outcome.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "launch/compress/recipe_keys.h"
#include "models/config/weight_sharing.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMostLayers = int64_t{1} << 20;

/// Numbers that are not finite are null.
nlohmann::ordered_json rows_json(const std::vector<std::vector<double>>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const std::vector<double>& row : rows) {
    nlohmann::ordered_json& list = json.emplace_back(nlohmann::ordered_json::array());
    for (const double value : row)
      list.push_back(std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json());
  }
  return json;
}

const nlohmann::json& array_in(const nlohmann::json& json, const char* key, const std::string& where) {
  const nlohmann::json& list = json_member(json, key, where);
  if (!list.is_array()) throw_bad_input("{}: \"{}\" must be a list", where, key);
  return list;
}

std::vector<std::vector<double>> rows_of(const nlohmann::json& json, const char* key,
                                         const std::string& where) {
  std::vector<std::vector<double>> rows;
  for (const nlohmann::json& list : array_in(json, key, where)) {
    if (!list.is_array()) throw_bad_input("{}: \"{}\" must be lists of numbers", where, key);
    std::vector<double>& row = rows.emplace_back();
    for (const nlohmann::json& value : list)
      row.push_back(value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  return rows;
}

/// The mean is null.
nlohmann::ordered_json values_json(int64_t values) {
  return values == kMeanWeights ? nlohmann::ordered_json() : nlohmann::ordered_json(values);
}

int64_t values_in(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json& values = json_member(json, "weights_of", where);
  return values.is_null() ? kMeanWeights : json_index(values, kMostLayers, "weights_of", where);
}

/// Of layers that are all alike, whose sets change nothing.
LayerLikeness even_likeness(const ModelConfig& config) {
  const auto n = static_cast<size_t>(config.num_layers);
  return {std::vector(n, std::vector<double>(n, 0)), std::vector(n, std::vector<double>(n, 1))};
}

ModelConfig planned_with(const ModelConfig& config, const ShareStep& step, int64_t count) {
  return fold_config(config, choose_sets(config, even_likeness(config), step.grouping, count));
}

}  // namespace

nlohmann::ordered_json json_of(const ShareOutcome& outcome) {
  nlohmann::ordered_json sets = nlohmann::ordered_json::array();
  for (size_t s = 0; s < outcome.sets.size(); ++s) {
    nlohmann::ordered_json set = {{"layers", outcome.sets[s].layers},
                                  {"weights_of", values_json(outcome.sets[s].values)}};
    if (s < outcome.trials.size()) {
      set["trials"] = nlohmann::ordered_json::array();
      for (const FoldTrial& trial : outcome.trials[s])
        set["trials"].push_back({{"weights_of", values_json(trial.values)}, {"loss", trial.loss}});
    }
    sets.push_back(std::move(set));
  }
  return {{"sets", std::move(sets)},
          {"change_of_stream", rows_json(outcome.likeness.change)},
          {"cosine_of_outputs", rows_json(outcome.likeness.cosine)}};
}

ShareOutcome share_outcome_of(const nlohmann::json& json, const std::string& where) {
  ShareOutcome outcome;
  for (const nlohmann::json& set : array_in(json, "sets", where)) {
    FoldedSet& folded = outcome.sets.emplace_back();
    for (const nlohmann::json& layer : array_in(set, "layers", where))
      folded.layers.push_back(json_index(layer, kMostLayers, "layers", where));
    if (folded.layers.empty()) throw_bad_input("{}: a set has no layers", where);
    folded.values = values_in(set, where);
    if (!set.contains("trials")) continue;
    if (outcome.trials.size() + 1 != outcome.sets.size())
      throw_bad_input("{}: sets have trials in their order", where);
    std::vector<FoldTrial>& trials = outcome.trials.emplace_back();
    for (const nlohmann::json& trial : array_in(set, "trials", where)) {
      const nlohmann::json& loss = json_member(trial, "loss", where);
      trials.push_back({values_in(trial, where), loss.is_number() ? loss.get<double>() : 0});
    }
  }
  outcome.likeness = {rows_of(json, "change_of_stream", where), rows_of(json, "cosine_of_outputs", where)};
  return outcome;
}

std::string values_text(int64_t values) {
  return values == kMeanWeights ? "their mean" : fmt::format("layer {}", values);
}

int64_t sets_left(const ShareStep& step, const ModelConfig& config) {
  const int64_t there = num_distinct_layers(config);
  if (step.layers.stay > 0) return step.layers.stay;
  if (step.layers.part > 0) {
    const int64_t left =
        std::max<int64_t>(1, std::llround((1 - step.layers.part) * static_cast<double>(there)));
    if (left == there)
      throw_usage(
          "layers {}: of {} sets of weights none would go: give a larger part, or the number that stays",
          amount_text(step.layers), there);
    return left;
  }
  const double most = step.size.value_or(1) * static_cast<double>(size_of(config).parameters);
  double least = 1;
  for (int64_t count = there - 1; count >= 1; --count) {
    try {
      const auto parameters = static_cast<double>(size_of(planned_with(config, step, count)).parameters);
      if (parameters <= most) return count;
      least = std::min(least, parameters / static_cast<double>(size_of(config).parameters));
    } catch (const UserError&) {
      break;  // so few are not possible
    }
  }
  throw_usage(
      "size {}: sharing leaves {:.3f} of the parameters at least (token tables and what cannot be shared "
      "stay)",
      step.size.value_or(1), least);
}

ModelConfig planned_config(const ModelConfig& config, const ShareStep& step) {
  return planned_with(config, step, sets_left(step, config));
}

}  // namespace trireme::launch
