// Drafts pay or do not, by planted costs and acceptance: what a machine like that would have taken in all.
#include "models/inference/speculation/draft_economics.h"

#include <algorithm>
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "models/inference/speculation/draft_rule.h"
#include "runtime/base/philox.h"

namespace trireme::test {
namespace {

/// Texts on a machine that takes what it is said to.
struct Machine {
  std::function<double(int64_t)> pass_seconds;  ///< of rows
  double step_seconds = 0;                      ///< of each token of the longest draft
  double read_seconds = 0;                      ///< of a text, before its first draft
  /// Whether a draft's next token is right.
  std::function<bool(int64_t request, int64_t place)> is_right;
  int64_t most = 16;
  uint64_t noise_seed = 0;  ///< 0: none

  double noise(int64_t pass) const {
    if (noise_seed == 0) return 1;
    const auto drawn = philox4x32(noise_seed, static_cast<uint64_t>(pass), 5);
    return drawn[1] % 50 == 0 ? 4 : 0.9 + 0.2 * drawn[0] / 4294967296.0;
  }

  struct Result {
    double seconds = 0, plain_seconds = 0;
    int64_t drafted = 0, accepted = 0;
    double gain() const { return plain_seconds / seconds; }
  };

  /// `count` texts of `length` tokens.
  Result run(DraftEconomics& economics, int64_t first, int64_t count, int64_t length) const {
    Result result;
    std::vector<int64_t> places(static_cast<size_t>(count), 0);
    std::set<int64_t> is_read;
    for (int64_t pass = 0;; ++pass) {
      std::vector<DraftEconomics::Candidate> texts;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t left = length - places[static_cast<size_t>(i)];
        if (left > 0) texts.push_back({first + i, std::min(most, left - 1)});
      }
      if (texts.empty()) break;
      const auto choices = economics.choose(texts);
      double reading = 0;
      std::vector<DraftOutcome> outcomes;
      int64_t rows = std::ssize(texts), longest = 0;
      for (size_t i = 0; i < texts.size(); ++i) {
        const int64_t drafted = choices[i].count;
        EXPECT_GE(drafted, 0);
        EXPECT_LE(drafted, texts[i].most);
        if (drafted > 0 && is_read.insert(texts[i].request).second) {
          EXPECT_TRUE(choices[i].reads);
          reading += read_seconds;
        }
        int64_t& place = places[static_cast<size_t>(texts[i].request - first)];
        int64_t accepted = 0;
        while (accepted < drafted && is_right(texts[i].request, place + accepted)) ++accepted;
        outcomes.push_back({texts[i].request, drafted, accepted});
        rows += drafted;
        longest = std::max(longest, drafted);
        result.drafted += drafted;
        result.accepted += accepted;
        result.plain_seconds += pass_seconds(std::ssize(texts)) / static_cast<double>(texts.size()) *
                                static_cast<double>(1 + accepted);
        place += 1 + accepted;
      }
      const double drafting = step_seconds * static_cast<double>(longest);
      const double seconds = pass_seconds(rows) + drafting + reading;
      result.seconds += seconds;
      const double slower = noise(pass);
      // What a text that is read first takes besides is not told apart.
      const bool reads = reading > 0;
      economics.learn(outcomes, std::ssize(texts),
                      {.reading = slower * (reads ? reading + drafting : 0),
                       .drafting = slower * (reads ? 0 : drafting),
                       .all = slower * seconds});
    }
    for (int64_t i = 0; i < count; ++i) economics.forget(first + i);
    return result;
  }
};

double by_rows(double each, int64_t rows) { return 0.006 * (1 + each * static_cast<double>(rows - 1)); }

Machine machine(double each, double rate) {
  return {.pass_seconds = [each](int64_t rows) { return by_rows(each, rows); },
          .is_right =
              [rate](int64_t request, int64_t place) {
                const auto drawn =
                    philox4x32(static_cast<uint64_t>(request) + 3, static_cast<uint64_t>(place), 0);
                return drawn[0] < rate * 4294967296.0;
              }};
}

TEST(DraftEconomics, NeverCostsMoreThanAFiftieth) {
  for (const double each : {0.02, 0.2, 0.6, 1.0}) {
    for (const double rate : {0.0, 0.03, 0.2, 0.5}) {
      for (const double step : {0.0, 0.002}) {
        for (const int64_t count : {1, 7}) {
          for (const uint64_t seed : {0, 1}) {
            Machine m = machine(each, rate);
            m.step_seconds = step;
            m.noise_seed = seed;
            DraftEconomics economics;
            EXPECT_GE(m.run(economics, 0, count, 400).gain(), 0.98)
                << each << " " << rate << " " << step << " " << count << " " << seed;
          }
        }
      }
    }
  }
}

// Nearly as much as the longest drafts for all would win.
TEST(DraftEconomics, WinsWhereDraftsAreRight) {
  for (const int64_t count : {1, 7}) {
    for (const double each : {0.05, 0.25}) {
      for (const uint64_t seed : {0, 1}) {
        Machine m = machine(each, 1);
        m.noise_seed = seed;
        DraftEconomics economics;
        const double best = 17 * by_rows(each, count) / by_rows(each, 17 * count);
        EXPECT_GE(m.run(economics, 0, count, 1000).gain(), 1 + 0.7 * (best - 1)) << count << " " << each;
      }
    }
  }
  DraftEconomics economics;
  EXPECT_GE(machine(0.1, 0.8).run(economics, 100, 1, 400).gain(), 1.6);
}

// What a draft model takes for each token more bounds the length of drafts.
TEST(DraftEconomics, WeighsWhatDraftsTake) {
  Machine cheap = machine(0.02, 0.8), dear = machine(0.02, 0.8), hopeless = machine(0.02, 0.8);
  dear.step_seconds = 0.002;
  hopeless.step_seconds = 0.008;
  const auto mean = [](const Machine::Result& r) { return static_cast<double>(r.drafted) / 2000; };
  DraftEconomics a, b, c;
  const auto of_cheap = cheap.run(a, 0, 1, 2000), of_dear = dear.run(b, 0, 1, 2000),
             of_hopeless = hopeless.run(c, 0, 1, 2000);
  EXPECT_GT(mean(of_cheap), mean(of_dear));
  EXPECT_GT(of_dear.gain(), 1.2);
  EXPECT_GT(of_cheap.gain(), of_dear.gain());
  EXPECT_GE(of_hopeless.gain(), 0.98);
  EXPECT_LT(mean(of_hopeless), 0.05);
}

// A draft model that takes long to read prompts is used while texts are long enough to win that back.
TEST(DraftEconomics, ReadsWhatIsWonBack) {
  Machine m = machine(0.05, 0.9);
  m.step_seconds = 0.0005;
  m.read_seconds = 0.3;  // 50 passes
  const auto gain_of = [&](int64_t length) {
    DraftEconomics economics;
    double plain = 0, seconds = 0;
    for (int64_t text = 0; text < 12000 / length; ++text) {
      const auto result = m.run(economics, text, 1, length);
      plain += result.plain_seconds;
      seconds += result.seconds;
    }
    return plain / seconds;
  };
  EXPECT_GE(gain_of(30), 0.98);
  EXPECT_GE(gain_of(60), 0.98);
  EXPECT_GE(gain_of(1000), 2);
}

// A text that begins to repeat itself after a long time without, and one that stops.
TEST(DraftEconomics, FollowsATextThatChanges) {
  Machine m = machine(0.2, 0);
  m.is_right = [](int64_t, int64_t place) { return place >= 600; };
  DraftEconomics late, early;
  const auto result = m.run(late, 0, 1, 1200);
  EXPECT_GT(result.accepted, 400);
  EXPECT_LT(result.drafted - result.accepted, 60);
  m.is_right = [](int64_t, int64_t place) { return place < 600; };
  const auto other = m.run(early, 0, 1, 1200);
  EXPECT_GT(other.accepted, 400);
  EXPECT_LT(other.drafted - other.accepted, 90);
}

// Of two texts at once the one that repeats itself is drafted for.
TEST(DraftEconomics, TellsTextsApart) {
  Machine m = machine(0.3, 0);
  m.is_right = [](int64_t request, int64_t) { return request % 2 == 0; };
  int64_t drafted[2] = {}, accepted[2] = {};
  DraftEconomics economics;
  for (int pass = 0; pass < 300; ++pass) {
    const std::vector<DraftEconomics::Candidate> texts{{0, 8}, {1, 8}};
    const auto counts = economics.choose(texts);
    std::vector<DraftOutcome> outcomes;
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t count = counts[static_cast<size_t>(i)].count;
      outcomes.push_back({i, count, m.is_right(i, 0) ? count : 0});
      drafted[i] += count;
      accepted[i] += outcomes.back().accepted;
    }
    economics.learn(outcomes, 2, {.all = by_rows(0.3, 2 + counts[0].count + counts[1].count)});
  }
  EXPECT_GT(drafted[0], 1000);
  EXPECT_EQ(accepted[0], drafted[0]);
  EXPECT_LT(drafted[1], 40);
  EXPECT_GT(drafted[1], 0);
}

TEST(DraftEconomics, AsksForNothingThatIsOfNoUse) {
  DraftEconomics economics;
  EXPECT_TRUE(economics.choose({}).empty());
  economics.learn({}, 2, {.all = 0.01});
  const std::vector<DraftEconomics::Candidate> texts{{0, 0}, {1, 3}};
  for (int i = 0; i < 100; ++i) {
    const auto counts = economics.choose(texts);
    EXPECT_EQ(counts[0].count, 0);
    EXPECT_LE(counts[1].count, 3);
    const DraftOutcome outcome{1, counts[1].count, counts[1].count};
    economics.learn({&outcome, 1}, 2, {.all = by_rows(0.1, 2 + counts[1].count)});
  }
}

// What was not measured lies between what was, and follows the machine when it becomes slower.
TEST(PassCosts, ScaleWithTheMachine) {
  PassCosts costs;
  EXPECT_FALSE(costs.is_known());
  EXPECT_TRUE(costs.is_stale(1));
  for (int i = 0; i < 50; ++i) {
    costs.learn(1, 1);
    costs.learn(5, 2);
  }
  EXPECT_NEAR(costs.seconds(1), 1, 0.02);
  EXPECT_NEAR(costs.seconds(3), 1.5, 0.02);
  EXPECT_NEAR(costs.seconds(9), 3, 0.05);
  EXPECT_FALSE(costs.is_stale(1));
  for (int i = 0; i < 200; ++i) costs.learn(5, 4);
  EXPECT_NEAR(costs.seconds(5), 4, 0.05);
  EXPECT_GT(costs.seconds(1), 1.4);
  EXPECT_TRUE(costs.is_stale(1));
  // A pass that was held up.
  costs.learn(5, 4000);
  EXPECT_LT(costs.seconds(5), 6);
  costs.learn(7, 4000);
  EXPECT_LT(costs.seconds(7), 2.5 * costs.seconds(5));
}

TEST(DraftRule, EndsDraftsWhereTheyDoNotPay) {
  ModelConfig config;
  config.vocab_size = 512;
  config.num_layers = 16;
  const DraftCosts costs = draft_costs(config, 2);
  EXPECT_GT(costs.step, 2.0 / 16);
  EXPECT_LT(costs.step, draft_costs(config, 4).step);
  EXPECT_LT(draft_costs(config, 15).step, 1);
  const auto least_chance = [](const DraftRule& rule, int64_t num_texts) {
    for (double chance = 0; chance < 1; chance += 0.01) {
      if (rule.pays(chance, num_texts)) return chance;
    }
    return 1.0;
  };
  DraftRule rule({.step = 0.1, .row = 0.1}), deep({.step = 0.5, .row = 0.1});
  EXPECT_LT(least_chance(rule, 1), least_chance(deep, 1));
  EXPECT_LT(least_chance(rule, 1), least_chance(rule, 8));  // the check's rows are no longer for nothing
  const double first = rule.chance(0.35), before = least_chance(rule, 1);
  const std::vector<double> three{0.95, 0.35, 0.65};
  for (int i = 0; i < 20; ++i) rule.learn(three, 1, 1);
  EXPECT_LT(rule.chance(0.35), first / 3);
  EXPECT_GT(rule.chance(0.95), 0.97);
  EXPECT_EQ(rule.chance(0.65), DraftRule({}).chance(0.65));  // behind a wrong one nothing is known
  for (int i = 0; i < 20; ++i) rule.learn(std::vector<double>{0.95, 0.95, 0.95}, 3, 1);
  EXPECT_GT(least_chance(rule, 1), before);  // the time of a pass is good for more tokens
  for (int i = 0; i < 800; ++i) rule.learn({}, 0, 1);
  EXPECT_NEAR(rule.chance(0.35), first, 0.01);  // what was long ago does not bind others
}

}  // namespace
}  // namespace trireme::test
