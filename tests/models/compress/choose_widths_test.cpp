// Widths under a budget, against all combinations of small cases.
#include <cmath>
#include <limits>
#include <optional>

#include <gtest/gtest.h>

#include "models/compress/sensitivity.h"
#include "models/compress/width_search.h"
#include "runtime/base/philox.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

using Matrices = std::map<std::string, std::vector<WidthChoice>>;
constexpr double kNoLimit = std::numeric_limits<double>::infinity();

struct Totals {
  int64_t bytes = 0;
  double damage = 0;
};

Totals totals_of(const Matrices& matrices, const std::map<std::string, size_t>& chosen) {
  Totals totals;
  for (const auto& [name, choices] : matrices) {
    totals.bytes += choices.at(chosen.at(name)).bytes;
    totals.damage += choices.at(chosen.at(name)).damage;
  }
  return totals;
}

/// The least of one total where the other is within a limit; of all combinations.
double least_of_all(const Matrices& matrices, bool of_damage, double limit) {
  std::vector<Totals> all{{}};
  for (const auto& [name, choices] : matrices) {
    std::vector<Totals> next;
    for (const Totals& t : all)
      for (const WidthChoice& c : choices) next.push_back({t.bytes + c.bytes, t.damage + c.damage});
    all = std::move(next);
  }
  double least = kNoLimit;
  for (const Totals& t : all) {
    const double cost = of_damage ? t.damage : static_cast<double>(t.bytes);
    const double weight = of_damage ? static_cast<double>(t.bytes) : t.damage;
    if (weight <= limit) least = std::min(least, cost);
  }
  return least;
}

/// Up to six matrices with up to five choices; mostly fewer bytes do more damage, but not always.
Matrices drawn(uint64_t seed) {
  Matrices matrices;
  const auto sizes = philox4x32(seed, 0, 7);
  for (uint64_t m = 0; m < 1 + sizes[0] % 6; ++m) {
    std::vector<WidthChoice>& choices = matrices[fmt::format("matrix {}", m)];
    for (uint64_t c = 0; c < 1 + (sizes[1] + m) % 5; ++c) {
      const auto drawn = philox4x32(seed, 100 * (m + 1) + c, 8);
      const int64_t bytes = 1 + drawn[0] % 40;
      const double noise = static_cast<double>(drawn[1] % 1000) / 1000;
      choices.push_back({.spec = {}, .bytes = bytes, .damage = std::pow(2.0, -double(bytes) / 8) * noise});
    }
  }
  return matrices;
}

TEST(ChooseWidths, AreTheLeastOfAllCombinations) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Matrices matrices = drawn(seed);
    const auto fewest = static_cast<int64_t>(least_of_all(matrices, false, kNoLimit));
    for (const int64_t more : {0, 1, 7, 30, 300}) {
      const auto chosen = choose_widths(matrices, {.bytes = fewest + more, .damage = {}});
      const Totals totals = totals_of(matrices, chosen);
      EXPECT_LE(totals.bytes, fewest + more);
      EXPECT_NEAR(totals.damage, least_of_all(matrices, true, static_cast<double>(fewest + more)), 1e-12);
      const Totals within =
          totals_of(matrices, choose_widths(matrices, {.bytes = {}, .damage = totals.damage * (1 + 1e-12)}));
      EXPECT_LE(within.damage, totals.damage * (1 + 1e-12));
      EXPECT_EQ(static_cast<double>(within.bytes),
                least_of_all(matrices, false, totals.damage * (1 + 1e-12)));
    }
  }
}

/// Neither item's next step on the hull fits after the first one, and only a swap is best.
TEST(ChooseWidths, GoBeyondTheHull) {
  const Matrices matrices = {
      {"a", {{.spec = {}, .bytes = 0, .damage = 10}, {.spec = {}, .bytes = 6, .damage = 0}}},
      {"b", {{.spec = {}, .bytes = 0, .damage = 8}, {.spec = {}, .bytes = 5, .damage = 0}}},
      {"c", {{.spec = {}, .bytes = 0, .damage = 7}, {.spec = {}, .bytes = 5, .damage = 0}}}};
  const auto chosen = choose_widths(matrices, {.bytes = 10, .damage = {}});
  EXPECT_EQ(chosen, (std::map<std::string, size_t>{{"a", 0}, {"b", 1}, {"c", 1}}));
}

TEST(ChooseWidths, ManyMatricesAreCloseToTheBoundOfTheHulls) {
  std::vector<std::vector<SearchChoice>> items;
  double heaviest = 0, largest_step = 0, dearest = 0;
  for (uint64_t m = 0; m < 500; ++m) {
    const auto drawn = philox4x32(3, m, 9);
    const double size = 1000 + drawn[0] % 3000, damage = 1e-4 * (1 + drawn[1] % 1000);
    items.push_back({{size * 4, damage}, {size * 6, damage / 20}, {size * 8, damage / 250}});
    heaviest += size * 8;
    dearest += damage;
    largest_step = std::max(largest_step, damage);
  }
  const double limit = heaviest * 0.6;
  const auto chosen = cheapest_within(items, limit);
  ASSERT_TRUE(chosen);
  double weight = 0, cost = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    weight += items[i][(*chosen)[i]].weight;
    cost += items[i][(*chosen)[i]].cost;
  }
  EXPECT_LE(weight, limit);
  // Weak duality: every rate's bound lies below the least cost.
  double bound = 0;
  for (double rate = 1e-9; rate < 1; rate *= 1.01) {
    double of_rate = -rate * limit;
    for (const auto& choices : items) {
      double least = kNoLimit;
      for (const SearchChoice& c : choices) least = std::min(least, c.cost + rate * c.weight);
      of_rate += least;
    }
    bound = std::max(bound, of_rate);
  }
  EXPECT_LT(cost, dearest / 2);
  EXPECT_GE(cost, bound * (1 - 1e-12));
  EXPECT_LE(cost, bound * 1.001);
}

TEST(ChooseWidths, OfEqualsTheFirst) {
  const std::vector<WidthChoice> equal(3, {.spec = {}, .bytes = 5, .damage = 1});
  for (const WidthBudget& budget :
       {WidthBudget{.bytes = 10, .damage = {}}, WidthBudget{.bytes = {}, .damage = 2},
        WidthBudget{.bytes = {}, .damage = {}}}) {
    EXPECT_EQ(choose_widths({{"a", equal}, {"b", equal}}, budget),
              (std::map<std::string, size_t>{{"a", 0}, {"b", 0}}));
  }
  // As much damage with fewer bytes.
  const std::vector<WidthChoice> cheaper = {{.spec = {}, .bytes = 9, .damage = 1},
                                            {.spec = {}, .bytes = 4, .damage = 1}};
  EXPECT_EQ(choose_widths({{"a", cheaper}}, {.bytes = 100, .damage = {}}).at("a"), 1u);
}

TEST(ChooseWidths, SayTheLeastWhereNothingFits) {
  const Matrices matrices = {
      {"a", {{.spec = {}, .bytes = 40, .damage = 0.5}, {.spec = {}, .bytes = 80, .damage = 0.125}}},
      {"b", {{.spec = {}, .bytes = 10, .damage = 0.25}, {.spec = {}, .bytes = 20, .damage = 0.0625}}}};
  expect_error(ExitCode::usage, {"49 bytes", "take 50"},
               [&] { choose_widths(matrices, {.bytes = 49, .damage = {}}); });
  expect_error(ExitCode::usage, {"0.1 nats", "at least 0.1875"},
               [&] { choose_widths(matrices, {.bytes = {}, .damage = 0.1}); });
  expect_error(ExitCode::usage, {"60 bytes", "0.2 nats", "0.5625 nats are the least"},
               [&] { choose_widths(matrices, {.bytes = 60, .damage = 0.2}); });
  EXPECT_EQ(choose_widths(matrices, {.bytes = 50, .damage = {}}),
            (std::map<std::string, size_t>{{"a", 0}, {"b", 0}}));
}

TEST(ChooseWidths, BytesCountScalesAndZeros) {
  using enum ops::PackedFormat;
  EXPECT_EQ(coded_bytes({int8}, 10, 100), 1000 + 20);
  EXPECT_EQ(coded_bytes({int4}, 10, 100), 500 + 20);
  EXPECT_EQ(coded_bytes({int4, 32}, 10, 100), 500 + 10 * 4 * 2);
  EXPECT_EQ(coded_bytes({int4, 32, false}, 10, 100), 500 + 10 * 4 * 2 + 20);
  EXPECT_EQ(coded_bytes({int8, 64, false}, 3, 64), 192 + 6 + 3);
}

}  // namespace
}  // namespace trireme::test
