// UnitCounts: how many units a model has in each layer, before a cut and after.
#pragma once

#include <cstdint>

#include "models/compress/structured/cut.h"

namespace trireme {

struct UnitCounts {
  int64_t layers = 0;
  int64_t kv_heads = 0, heads_per_kv_head = 0;
  int64_t dense_neurons = 0;  ///< of a feed-forward network outside of mixtures
  int64_t expert_neurons = 0, shared_neurons = 0, experts = 0;

  int64_t heads() const { return kv_heads * heads_per_kv_head; }
};

UnitCounts unit_counts(const ModelConfig& config);
/// What is left of them. UserError (usage) for numbers that do not fit the model.
UnitCounts counts_after(const ModelConfig& config, const StructuredCut& cut);

/// What makes a layer another kind than its neighbours, beside its numbers.
struct LayerKind {
  bool has_window = false, turns = false, is_mixture = false;
  friend bool operator==(const LayerKind&, const LayerKind&) = default;
};
inline LayerKind kind_of_layer(const ModelConfig& config, int64_t index) {
  return {config.window_of(index) > 0, config.turns(index), config.moe.is_in(index)};
}

}  // namespace trireme
