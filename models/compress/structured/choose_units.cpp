#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "models/compress/structured/cut.h"
#include "models/compress/structured/unit_counts.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using Scores = std::vector<double>;
using Units = std::vector<int64_t>;

Units all_units(int64_t count) {
  Units all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// `count` of the best of units [begin, end), rising; of equal ones the first.
void append_best(const Scores& scores, int64_t begin, int64_t end, int64_t count, Units& to) {
  Units order = all_units(end - begin);
  for (int64_t& unit : order) unit += begin;
  std::ranges::stable_sort(order, std::greater<>(),
                           [&](int64_t unit) { return scores[static_cast<size_t>(unit)]; });
  order.resize(static_cast<size_t>(count));
  std::ranges::sort(order);
  to.insert(to.end(), order.begin(), order.end());
}

/// As many of each of `groups` runs of neighbours.
Units best(const Scores& scores, int64_t there, int64_t count, int64_t groups = 1) {
  if (count == there) return all_units(there);
  TRIREME_CHECK(std::ssize(scores) == there, "{} scores of {} units", scores.size(), there);
  Units kept;
  for (int64_t g = 0; g < groups; ++g)
    append_best(scores, g * (there / groups), (g + 1) * (there / groups), count / groups, kept);
  return kept;
}

void expect_finite(const UnitImportance& importance) {
  const auto expect = [](int64_t layer, const char* unit, const Scores& scores) {
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!std::isfinite(scores[i]))
        throw_user(ExitCode::numerics, "layer {}: the importance of {} {} is {}", layer, unit, i, scores[i]);
    }
  };
  for (int64_t i = 0; i < std::ssize(importance); ++i) {
    const LayerImportance& of = importance[static_cast<size_t>(i)];
    expect(i, "layer", {of.layer});
    expect(i, "head", of.heads);
    expect(i, "expert", of.experts);
    expect(i, "shared neuron", of.shared_neurons);
    for (const Scores& neurons : of.neurons) expect(i, "neuron", neurons);
  }
}

void add_to(Scores& sum, const Scores& scores) {
  if (sum.empty()) sum.resize(scores.size());
  TRIREME_CHECK(sum.size() == scores.size(), "layers that share weights have {} and {} units", sum.size(),
                scores.size());
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += scores[i];
}

/// Of layers that share weights the sum.
LayerImportance shared_importance(const ModelConfig& config, const UnitImportance& importance,
                                  int64_t layer) {
  if (!config.shares_weights()) return importance[static_cast<size_t>(layer)];
  LayerImportance sum;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (config.weights_of(i) != config.weights_of(layer)) continue;
    const LayerImportance& of = importance[static_cast<size_t>(i)];
    add_to(sum.heads, of.heads);
    add_to(sum.shared_neurons, of.shared_neurons);
    add_to(sum.experts, of.experts);
    sum.neurons.resize(of.neurons.size());
    for (size_t e = 0; e < of.neurons.size(); ++e) add_to(sum.neurons[e], of.neurons[e]);
  }
  return sum;
}

void choose_heads(const LayerImportance& importance, const UnitCounts& was, const UnitCounts& is,
                  KeptLayer& kept) {
  const Scores& heads = importance.heads;
  if (is.heads() == was.heads()) {
    kept.kv_heads = all_units(was.kv_heads);
    kept.heads = all_units(was.heads());
    return;
  }
  TRIREME_CHECK(std::ssize(heads) == was.heads(), "{} scores of {} heads", heads.size(), was.heads());
  const int64_t group = was.heads_per_kv_head;
  Scores groups;
  for (int64_t g = 0; g < was.kv_heads; ++g)
    groups.push_back(std::accumulate(heads.begin() + g * group, heads.begin() + (g + 1) * group, 0.0));
  kept.kv_heads = best(groups, was.kv_heads, is.kv_heads);
  for (const int64_t g : kept.kv_heads)
    append_best(heads, g * group, (g + 1) * group, is.heads_per_kv_head, kept.heads);
}

void choose_feed_forward(const ModelConfig& config, const LayerImportance& importance, const UnitCounts& was,
                         const UnitCounts& is, KeptLayer& kept) {
  const auto neurons_of = [&](size_t network, int64_t there, int64_t count) {
    if (count == there) return all_units(there);
    TRIREME_CHECK(network < importance.neurons.size(), "no importances of network {}", network);
    return best(importance.neurons[network], there, count);
  };
  if (!config.moe.is_in(kept.layer)) {
    kept.neurons.push_back(neurons_of(0, was.dense_neurons, is.dense_neurons));
    return;
  }
  kept.experts = best(importance.experts, was.experts, is.experts, config.moe.num_groups);
  for (const int64_t e : kept.experts)
    kept.neurons.push_back(neurons_of(static_cast<size_t>(e), was.expert_neurons, is.expert_neurons));
  kept.shared_neurons = best(importance.shared_neurons, was.shared_neurons, is.shared_neurons);
}

/// The best `count` layers, the first and with `keeps_last` the last among them, of which the i-th is of the
/// kind that layer i of the model is: windows and the like stay where the config has them. Nothing where
/// there are none.
std::optional<Units> best_of_kinds(const ModelConfig& config, const Scores& scores, int64_t count,
                                   bool keeps_last) {
  const int64_t n = std::ssize(scores);
  constexpr double kNever = -HUGE_VAL;
  const auto at = [n](int64_t chosen, int64_t layer) { return static_cast<size_t>(chosen * n + layer); };
  // Of the layers from the chosen-th on, that one being `layer`: the best sum, and which is the next.
  std::vector<double> sums(static_cast<size_t>(count * n), kNever);
  std::vector<int64_t> next(sums.size(), -1);
  for (int64_t chosen = count - 1; chosen >= 0; --chosen) {
    for (int64_t layer = 0; layer < n; ++layer) {
      if (kind_of_layer(config, layer) != kind_of_layer(config, chosen)) continue;
      double& sum = sums[at(chosen, layer)];
      if (chosen == count - 1) {
        if (!keeps_last || layer == n - 1) sum = scores[static_cast<size_t>(layer)];
        continue;
      }
      for (int64_t later = layer + 1; later < n; ++later) {
        const double with = scores[static_cast<size_t>(layer)] + sums[at(chosen + 1, later)];
        if (!(with > sum)) continue;
        sum = with;
        next[at(chosen, layer)] = later;
      }
    }
  }
  if (sums[at(0, 0)] == kNever) return std::nullopt;
  Units kept;
  for (int64_t layer = 0; layer >= 0; layer = next[at(std::ssize(kept) - 1, layer)]) kept.push_back(layer);
  return kept;
}

Units choose_layers(const ModelConfig& config, const UnitImportance& importance, int64_t count) {
  const int64_t n = config.num_layers;
  if (count == n) return all_units(n);
  if (count == 1) return {0};
  Scores scores;
  for (const LayerImportance& layer : importance) scores.push_back(layer.layer);
  bool are_alike = true;
  for (int64_t i = 1; i < n; ++i)
    are_alike = are_alike && kind_of_layer(config, i) == kind_of_layer(config, 0);
  if (!are_alike) {  // the last goes where nothing else leaves the pattern
    for (const bool keeps_last : {true, false}) {
      if (auto kept = best_of_kinds(config, scores, count, keeps_last)) return *std::move(kept);
    }
  }
  Units kept{0};
  append_best(scores, 1, n - 1, count - 2, kept);
  kept.push_back(n - 1);
  return kept;
}

}  // namespace

KeptUnits choose_units(const ModelConfig& config, const UnitImportance& importance,
                       const StructuredCut& cut) {
  const UnitCounts was = unit_counts(config), is = counts_after(config, cut);
  TRIREME_CHECK(std::ssize(importance) == was.layers, "importances of {} layers of {}", importance.size(),
                was.layers);
  expect_finite(importance);
  KeptUnits kept;
  for (const int64_t layer : choose_layers(config, importance, is.layers)) {
    const LayerImportance of = shared_importance(config, importance, layer);
    KeptLayer& units = kept.emplace_back();
    units.layer = layer;
    choose_heads(of, was, is, units);
    choose_feed_forward(config, of, was, is, units);
  }
  return kept;
}

}  // namespace trireme
