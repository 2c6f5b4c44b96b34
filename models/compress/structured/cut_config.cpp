#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

#include "models/compress/structured/cut.h"
#include "models/compress/structured/unit_counts.h"
#include "models/config/weight_sharing.h"
#include "models/formats/hf_config.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

void expect_units(const char* unit, int64_t layer, const std::vector<int64_t>& kept, int64_t count,
                  int64_t there) {
  if (std::ssize(kept) != count)
    throw_usage("layer {}: {} {} stay, and {} have to", layer, kept.size(), unit, count);
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] < 0 || kept[i] >= there || (i > 0 && kept[i] <= kept[i - 1]))
      throw_usage("layer {}: {} {} stay: numbers below {} in rising order are needed", layer, unit,
                  fmt::join(kept, ", "), there);
  }
}

void expect_heads(const KeptLayer& kept, const UnitCounts& was, const UnitCounts& is) {
  expect_units("kv-groups", kept.layer, kept.kv_heads, is.kv_heads, was.kv_heads);
  expect_units("heads", kept.layer, kept.heads, is.heads(), was.heads());
  for (size_t i = 0; i < kept.heads.size(); ++i) {
    const int64_t group = kept.kv_heads[i / static_cast<size_t>(is.heads_per_kv_head)];
    if (kept.heads[i] / was.heads_per_kv_head != group)
      throw_usage("layer {}: head {} does not read key-value head {}", kept.layer, kept.heads[i], group);
  }
}

void expect_feed_forward(const ModelConfig& config, const KeptLayer& kept, const UnitCounts& was,
                         const UnitCounts& is) {
  const bool is_mixture = config.moe.is_in(kept.layer);
  const int64_t networks = is_mixture ? is.experts : 1;
  if (std::ssize(kept.neurons) != networks)
    throw_usage("layer {}: neurons of {} networks are given, and it has {}", kept.layer, kept.neurons.size(),
                networks);
  for (const auto& neurons : kept.neurons) {
    expect_units("neurons", kept.layer, neurons, is_mixture ? is.expert_neurons : is.dense_neurons,
                 is_mixture ? was.expert_neurons : was.dense_neurons);
  }
  expect_units("experts", kept.layer, kept.experts, is_mixture ? is.experts : 0, was.experts);
  expect_units("shared-neurons", kept.layer, kept.shared_neurons, is_mixture ? is.shared_neurons : 0,
               was.shared_neurons);
  const int64_t groups = config.moe.num_groups;
  for (int64_t i = 0; i < std::ssize(kept.experts); ++i) {
    const int64_t expert = kept.experts[static_cast<size_t>(i)];
    if (expert / (was.experts / groups) != i / (is.experts / groups))
      throw_usage("layer {}: of {} groups of experts as many have to stay", kept.layer, groups);
  }
}

bool are_alike(const KeptLayer& a, KeptLayer b) {
  b.layer = a.layer;
  return a.kv_heads == b.kv_heads && a.heads == b.heads && a.neurons == b.neurons &&
         a.shared_neurons == b.shared_neurons && a.experts == b.experts;
}

void expect_kept(const ModelConfig& config, const StructuredCut& cut, const KeptUnits& kept) {
  const UnitCounts was = unit_counts(config), is = counts_after(config, cut);
  std::vector<int64_t> layers;
  for (const KeptLayer& layer : kept) layers.push_back(layer.layer);
  expect_units("layers", 0, layers, is.layers, was.layers);
  for (const KeptLayer& layer : kept) {
    expect_heads(layer, was, is);
    expect_feed_forward(config, layer, was, is);
  }
  if (!config.shares_weights()) return;
  if (is.layers != was.layers) {
    throw_usage(
        "layers {}: layers share weights (model.share {}), so that none can go alone; heads, "
        "kv-groups and neurons can be cut",
        cut.layers, sharing_text(config));
  }
  for (int64_t i = 0; i < was.layers; ++i) {
    const int64_t of = config.weights_of(i);
    if (!are_alike(kept[static_cast<size_t>(i)], kept[static_cast<size_t>(of)]))
      throw_usage("layers {} and {} share weights (model.share {}), and keep different units", i, of,
                  sharing_text(config));
  }
}

/// Sets `config` to the first of some settings with which its layers are what the kept ones are in `holds`.
template <class Holds>
bool first_that_holds(ModelConfig& config, const Holds& holds, int64_t ModelConfig::*every,
                      int64_t ModelConfig::*from) {
  if (holds(config)) return true;
  const int64_t n = config.num_layers;
  for (int64_t begin = 0; begin < (from == nullptr ? 1 : n); ++begin) {
    for (int64_t period = 0; period <= n; ++period) {
      if (period == 1) continue;
      ModelConfig tried = config;
      tried.*every = period;
      if (from != nullptr) tried.*from = begin;
      if (!holds(tried)) continue;
      config = std::move(tried);
      return true;
    }
  }
  return false;
}

template <class Has>
std::string layers_with(const KeptUnits& kept, const Has& has) {
  std::vector<int64_t> layers;
  for (const KeptLayer& k : kept) {
    if (has(k.layer)) layers.push_back(k.layer);
  }
  return fmt::format("{}", fmt::join(layers, ", "));
}

std::string all_layers(const KeptUnits& kept) {
  return layers_with(kept, [](int64_t) { return true; });
}

void fit_windows(const ModelConfig& config, const KeptUnits& kept, ModelConfig& out) {
  const auto has = [&](int64_t layer) { return config.window_of(layer) > 0; };
  if (config.window == 0) return;
  if (std::ranges::none_of(kept, [&](const KeptLayer& k) { return has(k.layer); })) {
    out.window = out.window_pattern = out.window_from = 0;
    return;
  }
  const auto holds = [&](const ModelConfig& c) {
    for (int64_t i = 0; i < c.num_layers; ++i) {
      if ((c.window_of(i) > 0) != has(kept[static_cast<size_t>(i)].layer)) return false;
    }
    return c.window_from < c.num_layers;
  };
  if (first_that_holds(out, holds, &ModelConfig::window_pattern, &ModelConfig::window_from)) return;
  throw_usage(
      "layers {}: of the layers that stay ({}) those with a window would be {}, which no "
      "model.window-pattern (here {}) and model.window-from ({}) give",
      out.num_layers, all_layers(kept), layers_with(kept, has), config.window_pattern, config.window_from);
}

void fit_rotary(const ModelConfig& config, const KeptUnits& kept, ModelConfig& out) {
  const auto holds = [&](const ModelConfig& c) {
    for (int64_t i = 0; i < c.num_layers; ++i) {
      if (c.turns(i) != config.turns(kept[static_cast<size_t>(i)].layer)) return false;
    }
    return true;
  };
  if (config.no_rotary_every == 0 || first_that_holds(out, holds, &ModelConfig::no_rotary_every, nullptr))
    return;
  throw_usage(
      "layers {}: of the layers that stay ({}) those without RoPE would be {}, which no "
      "model.no-rotary-every (here {}) gives",
      out.num_layers, all_layers(kept),
      layers_with(kept, [&](int64_t layer) { return !config.turns(layer); }), config.no_rotary_every);
}

void fit_mixtures(const ModelConfig& config, const KeptUnits& kept, ModelConfig& out) {
  if (config.moe.num_experts == 0) return;
  const auto has = [&](int64_t layer) { return config.moe.is_in(layer); };
  const auto holds = [&](const MoeConfig& moe) {
    for (int64_t i = 0; i < out.num_layers; ++i) {
      if (moe.is_in(i) != has(kept[static_cast<size_t>(i)].layer)) return false;
    }
    return moe.first_block < out.num_layers;
  };
  if (holds(out.moe)) return;
  for (int64_t first = 0; first < out.num_layers; ++first) {
    for (int64_t every = 1; every <= out.num_layers; ++every) {
      MoeConfig tried = out.moe;
      tried.first_block = first;
      tried.every = every;
      if (!holds(tried)) continue;
      out.moe = tried;
      return;
    }
  }
  const std::string those = layers_with(kept, has);
  throw_usage(
      "layers {}: of the layers that stay ({}) those with experts would be {}, which no moe.from (here "
      "{}) and moe.every ({}) give",
      out.num_layers, all_layers(kept), those.empty() ? "none" : those, config.moe.first_block,
      config.moe.every);
}

void set_counts(const UnitCounts& was, const UnitCounts& is, ModelConfig& out) {
  out.num_layers = is.layers;
  if (is.heads() != was.heads()) out.given_head_dim = out.head_dim();
  out.num_heads = is.heads();
  out.num_kv_heads = is.kv_heads;
  if (was.experts == 0) {
    out.ffn_size = is.dense_neurons;
    return;
  }
  out.moe.num_experts = is.experts;
  out.moe.shared_ffn_size = is.shared_neurons;
  // Experts are as wide as the model where they have no width of their own.
  if (out.moe.expert_ffn_size > 0) out.moe.expert_ffn_size = is.expert_neurons;
  if (was.dense_neurons > 0) out.ffn_size = is.dense_neurons;
  if (out.moe.expert_ffn_size == 0) out.ffn_size = is.expert_neurons;
}

/// Why transformers has no such model; empty: it has.
std::string obstacle(const ModelConfig& config) {
  try {
    hf_architecture_of(config);
    return {};
  } catch (const UserError& error) {
    return error.what();
  }
}

/// Units of which fewer would be a model of transformers.
std::vector<std::string> units_that_can_go(const ModelConfig& config) {
  const UnitCounts was = unit_counts(config);
  std::vector<std::string> units;
  const auto try_without = [&](const char* unit, const UnitCounts& is) {
    ModelConfig out = config;
    set_counts(was, is, out);
    if (obstacle(out).empty()) units.emplace_back(unit);
  };
  const auto try_fewer = [&](const char* unit, int64_t UnitCounts::*count) {
    if (was.*count < 2) return;
    UnitCounts is = was;
    --(is.*count);
    try_without(unit, is);
  };
  if (config.num_layers > 1 && !config.shares_weights()) units.emplace_back("layers");
  try_fewer("kv-groups", &UnitCounts::kv_heads);
  if (was.heads_per_kv_head > 1) try_fewer("heads", &UnitCounts::heads_per_kv_head);
  try_fewer("neurons", was.experts > 0 ? &UnitCounts::expert_neurons : &UnitCounts::dense_neurons);
  try_fewer("shared-neurons", &UnitCounts::shared_neurons);
  if (was.experts > std::max<int64_t>(2, config.moe.experts_per_token))
    try_fewer("experts", &UnitCounts::experts);
  return units;
}

void expect_supported(const ModelConfig& config, const StructuredCut& cut) {
  const bool cuts_heads = cut.heads != 0 || cut.kv_groups != 0;
  if (cuts_heads && config.qk_norm == QkNormKind::projection) {
    throw_usage(
        "{}: queries and keys are normed over all heads together, so that none can go alone; layers "
        "and neurons can be cut",
        cut.heads != 0 ? "heads" : "kv-groups");
  }
  if (config.quantization) {
    throw_usage(
        "a model that is trained through quantization (qat.*) cannot be cut: its scales are of whole "
        "groups of inputs; cut first, or export it and cut that");
  }
}

/// Behind the layers that stay of those before an exit; an exit with none before or behind it goes.
void fit_exits(const KeptUnits& kept, ModelConfig& out) {
  std::vector<int64_t> exits;
  for (const int64_t exit : out.exits) {
    const int64_t before = std::ranges::count_if(kept, [&](const KeptLayer& k) { return k.layer < exit; });
    if (before > 0 && before < out.num_layers && (exits.empty() || exits.back() < before))
      exits.push_back(before);
  }
  out.exits = std::move(exits);
}

}  // namespace

ModelConfig cut_config(const ModelConfig& config, const StructuredCut& cut, const KeptUnits& kept) {
  expect_supported(config, cut);
  expect_kept(config, cut, kept);
  ModelConfig out = config;
  set_counts(unit_counts(config), counts_after(config, cut), out);
  if (out == config) return out;
  fit_windows(config, kept, out);
  fit_rotary(config, kept, out);
  fit_mixtures(config, kept, out);
  fit_exits(kept, out);
  if (const auto errors = errors_of(out); !errors.empty())
    throw_usage("what would be left is no model: {}", fmt::join(errors, "; "));
  if (const std::string why = obstacle(out); !why.empty() && obstacle(config).empty()) {
    throw_usage(
        "what would be left is no model of transformers, as it was before; of this one can be cut: {} ({})",
        fmt::join(units_that_can_go(config), ", "), why);
  }
  out.name = "custom";
  return out;
}

}  // namespace trireme
