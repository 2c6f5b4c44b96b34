#include "models/spec/prunable.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "models/spec/describe.h"

namespace trireme {

namespace {

using Parts = std::vector<UnitPart>;

/// Neurons of `name`.{gate,up,down}.
void add_neurons(const FeedForwardSpec& spec, const std::string& name, std::vector<UnitSet>& sets) {
  UnitSet& set = sets.emplace_back(UnitSet{name, spec.width});
  for (const char* part : {".gate", ".up"}) {
    if (std::string_view(part) == ".gate" && !is_gated(spec.activation)) continue;
    set.parts.push_back({name + part + ".weight", 0, 1});
    if (spec.bias) set.parts.push_back({name + part + ".bias", 0, 1});
  }
  set.parts.push_back({name + ".down.weight", 1, 1});
}

/// Query heads, or key-value heads with theirs, of `name`.{query,key,value,output}.
void add_heads(const AttentionSpec& spec, const std::string& name, bool grouped, std::vector<UnitSet>& sets) {
  const int64_t of_queries = grouped ? spec.num_heads / spec.num_kv_heads * spec.head_dim : spec.head_dim;
  UnitSet& set = sets.emplace_back(UnitSet{name, grouped ? spec.num_kv_heads : spec.num_heads});
  const auto add = [&](const char* part, int64_t width) {
    set.parts.push_back({name + part + ".weight", 0, width});
    if (spec.qkv_bias) set.parts.push_back({name + part + ".bias", 0, width});
  };
  add(".query", of_queries);
  if (grouped) add(".key", spec.head_dim);
  if (grouped) add(".value", spec.head_dim);
  set.parts.push_back({name + ".output.weight", 1, of_queries});
}

void add_units(const BlockSpec& block, const std::string& name, PruneUnit unit, std::vector<UnitSet>& sets) {
  if (unit != PruneUnit::neuron) {
    if (!block.convolution)
      add_heads(block.attention, name + ".attention", unit == PruneUnit::kv_group, sets);
    return;
  }
  const std::string ffn = name + ".ffn";
  if (block.bottleneck) {
    for (int64_t k = 0; k < block.bottleneck->num_feed_forwards; ++k)
      add_neurons(block.feed_forward, fmt::format("{}.{}", ffn, k), sets);
    return;
  }
  if (!block.mixture) return add_neurons(block.feed_forward, ffn, sets);
  for (int64_t e = 0; e < block.mixture->routing.num_experts; ++e)
    add_neurons(block.mixture->expert, fmt::format("{}.experts.{}", ffn, e), sets);
  if (block.mixture->shared) add_neurons(*block.mixture->shared, ffn + ".shared", sets);
}

}  // namespace

bool is_skipped(const PruneConfig& config, std::string_view name) {
  return std::ranges::any_of(config.skip, [&](const std::string& pattern) {
    return ParameterRule{.pattern = pattern}.matches(name, {});
  });
}

Prunable prunable_of(const ModelSpec& spec, const PruneConfig& config, std::span<const ParameterRule> rules) {
  Prunable all;
  std::set<std::string> stay;
  for (const auto& layer : parameters_by_layer(spec)) {
    for (const Parameter& p : layer) {
      const int dims = p.global_shape.rank();
      const ParameterRole role = parameter_role(p.name, dims, p.expert >= 0);
      if (role != ParameterRole::matrix && role != ParameterRole::expert) continue;
      if (is_skipped(config, p.name) || settings_of(p.name, dims, p.expert >= 0, rules).frozen) {
        stay.insert(p.name);
      } else if (dims == 2) {
        all.matrices.push_back({p.name, p.global_shape});
      }
    }
  }
  if (config.unit == PruneUnit::weight) return all;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    if (spec.weights_of(i) == i)
      add_units(spec.blocks[static_cast<size_t>(i)], block_name(i), config.unit, all.sets);
  }
  std::erase_if(all.sets, [&](const UnitSet& set) {
    return std::ranges::any_of(set.parts,
                               [&](const UnitPart& part) { return stay.contains(part.parameter); });
  });
  std::set<std::string> kept;
  for (const UnitSet& set : all.sets) {
    for (const UnitPart& part : set.parts) kept.insert(part.parameter);
  }
  std::erase_if(all.matrices, [&](const PrunableMatrix& m) { return !kept.contains(m.name); });
  return all;
}

}  // namespace trireme
