#include "launch/compress/cut_outcome.h"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

using Units = std::vector<int64_t>;

/// Beyond any number of units there is.
constexpr int64_t kMostUnits = int64_t{1} << 32;

double part_lost(const std::vector<double>& all, const Units& kept) {
  const double sum = std::accumulate(all.begin(), all.end(), 0.0);
  double left = 0;
  for (const int64_t unit : kept) left += unit < std::ssize(all) ? all[static_cast<size_t>(unit)] : 0;
  return sum > 0 ? 1 - left / sum : 0;
}

/// Of all networks of a layer, each with its own units.
double neurons_lost(const LayerImportance& importance, const KeptLayer& kept) {
  double sum = 0, left = 0;
  for (size_t i = 0; i < kept.neurons.size(); ++i) {
    const size_t network = kept.experts.empty() ? i : static_cast<size_t>(kept.experts[i]);
    if (network >= importance.neurons.size()) continue;
    const std::vector<double>& all = importance.neurons[network];
    const double of_network = std::accumulate(all.begin(), all.end(), 0.0);
    sum += of_network;
    left += of_network * (1 - part_lost(all, kept.neurons[i]));
  }
  return sum > 0 ? 1 - left / sum : 0;
}

nlohmann::ordered_json finite(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

double number_in(const nlohmann::json& json, const char* key, const std::string& where) {
  const nlohmann::json& value = json_member(json, key, where);
  return value.is_number() ? value.get<double>() : 0;
}

int64_t count_in(const nlohmann::json& json, const char* key, const std::string& where) {
  return json_index(json_member(json, key, where), kMostUnits, key, where);
}

const nlohmann::json& list_in(const nlohmann::json& json, const char* key, const std::string& where) {
  const nlohmann::json& list = json_member(json, key, where);
  if (!list.is_array()) throw_bad_input("{}: \"{}\" must be a list", where, key);
  return list;
}

Units units_of(const nlohmann::json& list, const char* key, const std::string& where) {
  if (!list.is_array()) throw_bad_input("{}: \"{}\" must be a list", where, key);
  Units units;
  for (const nlohmann::json& unit : list) units.push_back(json_index(unit, kMostUnits, key, where));
  return units;
}

}  // namespace

CutOutcome cut_outcome(const StructuredCut& cut, KeptUnits kept, const UnitImportance& importance) {
  CutOutcome outcome{.cut = cut, .kept = std::move(kept), .lost = {}, .layers = {}};
  for (const LayerImportance& layer : importance) outcome.layers.push_back(layer.layer);
  for (const KeptLayer& layer : outcome.kept) {
    const LayerImportance& of = importance.at(static_cast<size_t>(layer.layer));
    outcome.lost.push_back({.heads = part_lost(of.heads, layer.heads),
                            .neurons = neurons_lost(of, layer),
                            .experts = part_lost(of.experts, layer.experts)});
  }
  return outcome;
}

nlohmann::ordered_json json_of(const CutOutcome& outcome) {
  const StructuredCut& cut = outcome.cut;
  nlohmann::ordered_json json = {{"layers_left", cut.layers},
                                 {"kv_groups_left", cut.kv_groups},
                                 {"heads_left", cut.heads},
                                 {"neurons_left", cut.neurons},
                                 {"shared_neurons_left", cut.shared_neurons},
                                 {"experts_left", cut.experts},
                                 {"importance_of_layers", nlohmann::ordered_json::array()},
                                 {"layers", nlohmann::ordered_json::array()}};
  for (const double importance : outcome.layers) json["importance_of_layers"].push_back(finite(importance));
  for (size_t i = 0; i < outcome.kept.size(); ++i) {
    const KeptLayer& layer = outcome.kept[i];
    json["layers"].push_back({{"layer", layer.layer},
                              {"lost_importance_of_heads", finite(outcome.lost[i].heads)},
                              {"lost_importance_of_neurons", finite(outcome.lost[i].neurons)},
                              {"lost_importance_of_experts", finite(outcome.lost[i].experts)},
                              {"kv_heads", layer.kv_heads},
                              {"heads", layer.heads},
                              {"experts", layer.experts},
                              {"shared_neurons", layer.shared_neurons},
                              {"neurons", layer.neurons}});
  }
  return json;
}

CutOutcome cut_outcome_of(const nlohmann::json& json, const std::string& where) {
  CutOutcome outcome;
  outcome.cut = {.layers = count_in(json, "layers_left", where),
                 .kv_groups = count_in(json, "kv_groups_left", where),
                 .heads = count_in(json, "heads_left", where),
                 .neurons = count_in(json, "neurons_left", where),
                 .shared_neurons = count_in(json, "shared_neurons_left", where),
                 .experts = count_in(json, "experts_left", where)};
  for (const nlohmann::json& importance : list_in(json, "importance_of_layers", where))
    outcome.layers.push_back(importance.is_number() ? importance.get<double>() : 0);
  for (const nlohmann::json& layer : list_in(json, "layers", where)) {
    outcome.lost.push_back({.heads = number_in(layer, "lost_importance_of_heads", where),
                            .neurons = number_in(layer, "lost_importance_of_neurons", where),
                            .experts = number_in(layer, "lost_importance_of_experts", where)});
    KeptLayer& kept = outcome.kept.emplace_back();
    kept.layer = count_in(layer, "layer", where);
    kept.kv_heads = units_of(list_in(layer, "kv_heads", where), "kv_heads", where);
    kept.heads = units_of(list_in(layer, "heads", where), "heads", where);
    kept.experts = units_of(list_in(layer, "experts", where), "experts", where);
    kept.shared_neurons = units_of(list_in(layer, "shared_neurons", where), "shared_neurons", where);
    for (const nlohmann::json& neurons : list_in(layer, "neurons", where))
      kept.neurons.push_back(units_of(neurons, "neurons", where));
  }
  return outcome;
}

}  // namespace trireme::launch
