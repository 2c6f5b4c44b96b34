// Structured pruning: which layers, heads, neurons and experts of a model go, so that what is left is a plain
// smaller model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// How many are left, the same in every layer that has any; 0: all of them.
struct StructuredCut {
  int64_t layers = 0;
  int64_t kv_groups = 0;  ///< key-value heads with all of their query heads
  int64_t heads = 0;      ///< query heads, in all; the same number of each key-value head that is left
  /// Of each feed-forward network; in a model with experts of each of these, and of dense layers as wide.
  int64_t neurons = 0;
  int64_t shared_neurons = 0;  ///< of the shared expert
  int64_t experts = 0;

  bool is_empty() const { return *this == StructuredCut{}; }
  friend bool operator==(const StructuredCut&, const StructuredCut&) = default;
};

/// Units that stay, in rising order, by their places in the model as it was.
struct KeptLayer {
  int64_t layer = 0;
  std::vector<int64_t> kv_heads;
  std::vector<int64_t> heads;                 ///< query heads
  std::vector<std::vector<int64_t>> neurons;  ///< of the network; or of each expert that stays
  std::vector<int64_t> shared_neurons;
  std::vector<int64_t> experts;
};
using KeptUnits = std::vector<KeptLayer>;  ///< in the order of the layers that stay

/// How much each unit matters: of the model as it is, for each layer; larger matters more.
struct LayerImportance {
  double layer = 0;
  std::vector<double> heads;                 ///< of query heads; a group's is the sum of its heads'
  std::vector<std::vector<double>> neurons;  ///< of the network, or of each expert
  std::vector<double> shared_neurons;
  std::vector<double> experts;
};
using UnitImportance = std::vector<LayerImportance>;

/// The config of what is left. UserError (usage) naming what cannot be: numbers that do not fit the model,
/// heads that do not divide among key-value heads, windows or other patterns by layer that would no longer
/// hold for the layers that stay, shared layers.
ModelConfig cut_config(const ModelConfig& config, const StructuredCut& cut, const KeptUnits& kept);

/// The most important units, of experts as many of each routing group. The first and the last layer stay, but
/// the last goes where windows, RoPE or mixtures could not follow the config's pattern otherwise; of one
/// layer the first. Of equal ones the first stay. UserError (usage) as cut_config(), (numerics) for
/// importances that are not finite. Importances of kinds that are not cut may be absent.
KeptUnits choose_units(const ModelConfig& config, const UnitImportance& importance, const StructuredCut& cut);

}  // namespace trireme
