#include <algorithm>
#include <limits>

#include "models/compress/sensitivity.h"
#include "models/compress/width_search.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using WidthChoices = std::map<std::string, std::vector<WidthChoice>>;

struct WidthTotals {
  int64_t bytes = 0;
  double damage = 0;
};

WidthTotals width_totals(const WidthChoices& matrices, const std::vector<size_t>& chosen) {
  WidthTotals totals;
  size_t at = 0;
  for (const auto& [name, choices] : matrices) {
    const WidthChoice& choice = choices[chosen[at++]];
    totals.bytes += choice.bytes;
    totals.damage += choice.damage;
  }
  return totals;
}

/// Bytes are whole numbers below 2^53: their sums are exact.
std::optional<std::vector<size_t>> least_widths(const WidthChoices& matrices, bool of_damage, double limit) {
  std::vector<std::vector<SearchChoice>> items;
  for (const auto& [name, choices] : matrices) {
    TRIREME_CHECK(!choices.empty(), "{} has no choice of widths", name);
    std::vector<SearchChoice>& item = items.emplace_back();
    for (const WidthChoice& c : choices) {
      const auto bytes = static_cast<double>(c.bytes);
      item.push_back(of_damage ? SearchChoice{bytes, c.damage} : SearchChoice{c.damage, bytes});
    }
  }
  return cheapest_within(items, limit);
}

constexpr double kNoWidthLimit = std::numeric_limits<double>::infinity();

std::vector<size_t> least_damage(const WidthChoices& matrices, const WidthBudget& budget) {
  const auto chosen =
      least_widths(matrices, true, budget.bytes ? static_cast<double>(*budget.bytes) : kNoWidthLimit);
  if (!chosen) {
    const WidthTotals narrowest = width_totals(matrices, *least_widths(matrices, false, kNoWidthLimit));
    throw_usage(
        "mixed widths: a budget of {} bytes: the narrowest widths of the {} groups of matrices take {}; "
        "allow as much, or narrower widths",
        *budget.bytes, matrices.size(), narrowest.bytes);
  }
  const double damage = width_totals(matrices, *chosen).damage;
  if (budget.damage && damage > *budget.damage) {
    throw_usage(
        "mixed widths: a budget of {} bytes and {:.4g} nats a token: within these bytes {:.4g} nats are "
        "the least; allow more of either",
        *budget.bytes, *budget.damage, damage);
  }
  return *chosen;
}

std::vector<size_t> fewest_bytes(const WidthChoices& matrices, double damage) {
  auto chosen = least_widths(matrices, false, damage);
  if (!chosen) {
    const WidthTotals widest = width_totals(matrices, *least_widths(matrices, true, kNoWidthLimit));
    throw_usage(
        "mixed widths: a budget of {:.4g} nats a token: the widths that are allowed lose at least "
        "{:.4g}; allow as much, or wider widths",
        damage, widest.damage);
  }
  return *std::move(chosen);
}

}  // namespace

std::map<std::string, size_t> choose_widths(const WidthChoices& matrices, const WidthBudget& budget) {
  const std::vector<size_t> chosen = budget.damage && !budget.bytes ? fewest_bytes(matrices, *budget.damage)
                                                                    : least_damage(matrices, budget);
  std::map<std::string, size_t> result;
  size_t at = 0;
  for (const auto& [name, choices] : matrices) result.emplace(name, chosen[at++]);
  return result;
}

std::map<std::string, std::optional<ops::PackedSpec>> widths_of(const std::vector<WidthUnit>& units,
                                                                const WidthBudget& budget) {
  WidthChoices matrices;
  for (const WidthUnit& unit : units) matrices.emplace(unit.name, unit.choices);
  const std::map<std::string, size_t> chosen = choose_widths(matrices, budget);
  std::map<std::string, std::optional<ops::PackedSpec>> widths;
  for (const WidthUnit& unit : units)
    for (const std::string& name : unit.members)
      widths.emplace(name, unit.choices[chosen.at(unit.name)].spec);
  return widths;
}

}  // namespace trireme
