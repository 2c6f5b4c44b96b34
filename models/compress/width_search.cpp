#include "models/compress/width_search.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr size_t kMostStates = 20'000;

/// A choice that no other is both lighter and cheaper than.
struct HullCandidate {
  double weight, cost;
  size_t choice;
};
using HullCandidates = std::vector<HullCandidate>;

HullCandidates undominated_choices(const std::vector<SearchChoice>& choices) {
  HullCandidates sorted;
  for (size_t i = 0; i < choices.size(); ++i) sorted.push_back({choices[i].weight, choices[i].cost, i});
  std::ranges::sort(sorted, {},
                    [](const HullCandidate& c) { return std::tuple(c.weight, c.cost, c.choice); });
  HullCandidates kept;
  for (const HullCandidate& c : sorted)
    if (kept.empty() || c.cost < kept.back().cost) kept.push_back(c);
  return kept;
}

/// A step along an item's convex hull, from a lighter to a cheaper choice.
struct HullStep {
  size_t item, from, to;  // places among its candidates
  double weight, saving;  // more weight, less cost
  double rate() const { return saving / weight; }
};

/// Rates fall along the hull.
void append_hull(const HullCandidates& candidates, size_t item, std::vector<HullStep>& steps) {
  for (size_t at = 0; at + 1 < candidates.size();) {
    HullStep best{};
    for (size_t to = at + 1; to < candidates.size(); ++to) {
      const HullStep step{item, at, to, candidates[to].weight - candidates[at].weight,
                          candidates[at].cost - candidates[to].cost};
      if (best.weight == 0 || step.rate() >= best.rate()) best = step;
    }
    steps.push_back(best);
    at = best.to;
  }
}

/// What the hulls give: a solution, and the rate at which they stop.
struct HullSolution {
  std::vector<size_t> places;
  double weight = 0, cost = 0;
  double rate = 0;  ///< 0: every step fits, and nothing is cheaper
};

HullSolution solve_by_hulls(const std::vector<HullCandidates>& items, double limit) {
  HullSolution solution{.places = std::vector<size_t>(items.size())};
  std::vector<HullStep> steps;
  for (size_t i = 0; i < items.size(); ++i) {
    solution.weight += items[i].front().weight;
    append_hull(items[i], i, steps);
  }
  std::ranges::stable_sort(steps, std::ranges::greater(), &HullStep::rate);
  for (const HullStep& step : steps) {
    const bool follows = solution.places[step.item] == step.from;
    if (follows && solution.weight + step.weight <= limit) {
      solution.places[step.item] = step.to;
      solution.weight += step.weight;
    } else if (solution.rate == 0) {
      solution.rate = step.rate();
    }
  }
  solution.weight = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    solution.weight += items[i][solution.places[i]].weight;
    solution.cost += items[i][solution.places[i]].cost;
  }
  return solution;
}

/// The first items decided.
struct PartialSum {
  double weight, cost;
  uint32_t parent;  // among the states before
  uint32_t place;   // the last item's candidate
};
using PartialSums = std::vector<PartialSum>;

/// Finds what is cheaper than a solution of the hulls: partial sums item by item, without those that are
/// neither lighter nor cheaper than another, and without those which the Lagrangian bound shows to lead to
/// nothing cheaper. With the hulls' rate r, whatever the items left choose: cost >= cost so far + r (weight
/// so far - limit) + sum over those items of their least cost + r weight.
class HullImprovement {
 public:
  HullImprovement(const std::vector<HullCandidates>& items, double limit, const HullSolution& hulls)
      : items_(items), limit_(limit), hulls_(hulls), bound_(items.size() + 1), lightest_(items.size() + 1) {
    for (size_t i = items.size(); i-- > 0;) {
      double least = std::numeric_limits<double>::infinity();
      for (const HullCandidate& c : items[i]) least = std::min(least, c.cost + hulls.rate * c.weight);
      bound_[i] = bound_[i + 1] + least;
      lightest_[i] = lightest_[i + 1] + items[i].front().weight;
    }
  }

  /// The hulls' places where nothing is cheaper.
  std::vector<size_t> places() const {
    std::vector<PartialSums> levels{{PartialSum{0, 0, 0, 0}}};
    for (size_t i = 0; i < items_.size(); ++i) {
      levels.push_back(extended(levels.back(), i));
      if (levels.back().empty()) return hulls_.places;
    }
    const PartialSum* best = &levels.back().back();  // costs fall
    if (best->cost >= hulls_.cost) return hulls_.places;
    std::vector<size_t> places(items_.size());
    for (size_t i = items_.size(); i-- > 0;) {
      places[i] = best->place;
      best = &levels[i][best->parent];
    }
    return places;
  }

 private:
  double bound_of(const PartialSum& state, size_t next) const {
    return state.cost + hulls_.rate * (state.weight - limit_) + bound_[next];
  }

  PartialSums extended(const PartialSums& states, size_t item) const {
    PartialSums all;
    for (uint32_t s = 0; s < states.size(); ++s) {
      for (uint32_t p = 0; p < items_[item].size(); ++p) {
        const HullCandidate& c = items_[item][p];
        const PartialSum next{states[s].weight + c.weight, states[s].cost + c.cost, s, p};
        if (next.weight + lightest_[item + 1] <= limit_ && bound_of(next, item + 1) < hulls_.cost)
          all.push_back(next);
      }
    }
    const auto by_weight = [](const PartialSum& s) {
      return std::tuple(s.weight, s.cost, s.parent, s.place);
    };
    if (all.size() > kMostStates) {
      std::ranges::sort(all, {},
                        [&](const PartialSum& s) { return std::tuple(bound_of(s, item + 1), by_weight(s)); });
      all.resize(kMostStates);
    }
    std::ranges::sort(all, {}, by_weight);
    PartialSums kept;
    for (const PartialSum& s : all)
      if (kept.empty() || s.cost < kept.back().cost) kept.push_back(s);
    return kept;
  }

  const std::vector<HullCandidates>& items_;
  double limit_;
  const HullSolution& hulls_;
  std::vector<double> bound_, lightest_;  // of the items from one on
};

}  // namespace

std::optional<std::vector<size_t>> cheapest_within(const std::vector<std::vector<SearchChoice>>& items,
                                                   double limit) {
  std::vector<HullCandidates> candidates;
  double lightest = 0;
  for (const auto& choices : items) {
    TRIREME_CHECK(!choices.empty(), "an item without choices");
    for (const SearchChoice& c : choices)
      TRIREME_CHECK(std::isfinite(c.weight) && std::isfinite(c.cost), "weight {}, cost {}", c.weight, c.cost);
    candidates.push_back(undominated_choices(choices));
    lightest += candidates.back().front().weight;
  }
  if (lightest > limit) return std::nullopt;
  const HullSolution hulls = solve_by_hulls(candidates, limit);
  const bool is_best = hulls.rate == 0;
  std::vector<size_t> chosen = is_best ? hulls.places : HullImprovement(candidates, limit, hulls).places();
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = candidates[i][chosen[i]].choice;
  return chosen;
}

}  // namespace trireme
