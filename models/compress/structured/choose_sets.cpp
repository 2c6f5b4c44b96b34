#include "models/compress/structured/fold.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "models/config/weight_sharing.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using Layers = std::vector<int64_t>;

constexpr double kNoSet = std::numeric_limits<double>::infinity();

/// How many layers with weights of their own there are for each kind of parts.
int64_t num_kinds(const ModelConfig& config) {
  int64_t count = 0;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    bool is_new = true;
    for (int64_t before = 0; before < i; ++before) is_new &= !have_same_parts(config, i, before);
    count += is_new ? 1 : 0;
  }
  return count;
}

class SetChoice {
 public:
  SetChoice(const ModelConfig& config, const LayerLikeness& likeness) : config_(config), likeness_(likeness) {
    std::map<int64_t, Layers> by_owner;
    for (int64_t i = 0; i < config.num_layers; ++i) by_owner[config.weights_of(i)].push_back(i);
    for (auto& [owner, layers] : by_owner) items_.push_back(std::move(layers));
  }

  int64_t num_items() const { return std::ssize(items_); }

  std::vector<FoldedSet> adjacent(int64_t count) const {
    const auto n = items_.size();
    // least[k][e]: of the first e items in k runs; begin[k][e]: where the last of these runs begins.
    const std::vector<std::vector<double>> runs = costs_of_runs();
    std::vector least(static_cast<size_t>(count) + 1, std::vector<double>(n + 1, kNoSet));
    std::vector begin(static_cast<size_t>(count) + 1, std::vector<size_t>(n + 1, 0));
    least[0][0] = 0;
    for (size_t k = 1; k <= static_cast<size_t>(count); ++k) {
      for (size_t e = k; e <= n; ++e) {
        for (size_t b = k - 1; b < e; ++b) {
          const double cost = least[k - 1][b] + runs[b][e - 1];
          if (cost < least[k][e]) least[k][e] = cost, begin[k][e] = b;
        }
      }
    }
    if (least[static_cast<size_t>(count)][n] == kNoSet) {
      throw_usage(
          "layers {}: neighbours with other parts (dense, MoE, convolution) cannot share: runs of those "
          "alike leave {} sets of weights at least; grouping = likeness takes any layers",
          count, least_runs());
    }
    std::vector<FoldedSet> sets;
    for (size_t k = static_cast<size_t>(count), e = n; k > 0; e = begin[k][e], --k) {
      FoldedSet set;
      for (size_t i = begin[k][e]; i < e; ++i)
        set.layers.insert(set.layers.end(), items_[i].begin(), items_[i].end());
      sets.push_back(completed(std::move(set)));
    }
    return in_order(std::move(sets));
  }

  std::vector<FoldedSet> by_likeness(int64_t count) const {
    std::vector<FoldedSet> sets;
    std::vector<double> costs;
    for (const Layers& item : items_) {
      sets.push_back(completed({.layers = item}));
      costs.push_back(cost_of(item).first);
    }
    while (std::ssize(sets) > count) {
      double least = kNoSet;
      size_t a = 0, b = 0;
      for (size_t i = 0; i < sets.size(); ++i) {
        for (size_t j = i + 1; j < sets.size(); ++j) {
          const double more = cost_of(united(sets[i].layers, sets[j].layers)).first - costs[i] - costs[j];
          if (more < least) least = more, a = i, b = j;
        }
      }
      if (least == kNoSet)
        throw_usage(
            "layers {}: layers with other parts (dense, MoE, convolution) cannot share: there are {} kinds",
            count, sets.size());
      sets[a] = completed({.layers = united(sets[a].layers, sets[b].layers)});
      costs[a] = cost_of(sets[a].layers).first;
      sets.erase(sets.begin() + static_cast<int64_t>(b));
      costs.erase(costs.begin() + static_cast<int64_t>(b));
    }
    return in_order(std::move(sets));
  }

 private:
  /// What a set changes with the best of its weights, and whose those are.
  std::pair<double, int64_t> cost_of(const Layers& layers) const {
    std::pair<double, int64_t> best{kNoSet, layers.front()};
    for (const int64_t of : layers) {
      if (config_.weights_of(of) != of) continue;
      double cost = 0;
      for (const int64_t i : layers) {
        if (!have_same_parts(config_, i, of)) return {kNoSet, layers.front()};
        const double change = likeness_.change[static_cast<size_t>(i)][static_cast<size_t>(of)];
        if (!std::isfinite(change))
          throw_user(ExitCode::numerics,
                     "the likeness of layers {} and {} is {}: outputs of layers are not finite", i, of,
                     change);
        cost += change;
      }
      if (cost < best.first) best = {cost, of};
    }
    return best;
  }

  std::vector<std::vector<double>> costs_of_runs() const {
    const size_t n = items_.size();
    std::vector runs(n, std::vector<double>(n, kNoSet));
    for (size_t b = 0; b < n; ++b) {
      Layers layers;
      for (size_t e = b; e < n; ++e) {
        layers.insert(layers.end(), items_[e].begin(), items_[e].end());
        runs[b][e] = cost_of(layers).first;
        if (runs[b][e] == kNoSet) break;  // longer ones have other parts too
      }
    }
    return runs;
  }

  int64_t least_runs() const {
    int64_t count = 1;
    for (size_t i = 1; i < items_.size(); ++i)
      count += have_same_parts(config_, items_[i - 1].front(), items_[i].front()) ? 0 : 1;
    return count;
  }

  FoldedSet completed(FoldedSet set) const {
    std::ranges::sort(set.layers);
    set.values = cost_of(set.layers).second;
    return set;
  }
  static Layers united(const Layers& a, const Layers& b) {
    Layers all;
    std::ranges::merge(a, b, std::back_inserter(all));
    return all;
  }
  static std::vector<FoldedSet> in_order(std::vector<FoldedSet> sets) {
    std::ranges::sort(sets, {}, [](const FoldedSet& set) { return set.layers.front(); });
    return sets;
  }

  const ModelConfig& config_;
  const LayerLikeness& likeness_;
  std::vector<Layers> items_;  // layers that share weights already, by their owners
};

}  // namespace

std::vector<FoldedSet> choose_sets(const ModelConfig& config, const LayerLikeness& likeness,
                                   FoldGrouping grouping, int64_t count) {
  const SetChoice choice(config, likeness);
  if (count < 1 || count >= choice.num_items()) {
    throw_usage("layers {}: of {} sets of weights none would be folded; give a number from {} to {}", count,
                choice.num_items(), num_kinds(config), choice.num_items() - 1);
  }
  return grouping == FoldGrouping::adjacent ? choice.adjacent(count) : choice.by_likeness(count);
}

}  // namespace trireme
