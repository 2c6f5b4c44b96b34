// Choice of tokens: against plain references over drawn logits, and the frequencies of many draws.
#include "models/inference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include <gmock/gmock.h>

#include "models/inference/likeliest_tokens.h"
#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/ops/cpu/logit_rows.h"

namespace trireme {
namespace {

std::vector<float> drawn(int64_t n, uint64_t seed, float scale = 3) {
  std::vector<float> logits;
  for (int64_t i = 0; i < n; ++i)
    logits.push_back(scale * philox_normal4(seed, static_cast<uint64_t>(i), 0)[0]);
  return logits;
}

/// Few values, so that many are equal.
std::vector<float> drawn_with_ties(int64_t n, uint64_t seed) {
  std::vector<float> logits = drawn(n, seed, 2);
  for (float& logit : logits) logit = std::round(logit);
  return logits;
}

SampledToken choose(std::span<const float> logits, const SamplingOptions& options, int64_t index = 0,
                    std::span<const int32_t> prompt = {}, std::span<const int32_t> text = {}) {
  return sample_token(logits, std::ssize(logits), options, prompt, text, index);
}

/// The kept tokens by sorting all.
std::set<int32_t> kept_by_sorting(std::span<const float> logits, const SamplingOptions& o) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](int32_t i) { return static_cast<double>(logits[static_cast<size_t>(i)]); };
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  const double largest = logit(order[0]);
  if (o.top_k > 0 && o.top_k < std::ssize(order)) order.resize(static_cast<size_t>(o.top_k));
  double sum = 0, seen = 0;
  for (const int32_t i : order) sum += std::exp(logit(i) - largest);
  size_t count = 0;
  while (count < order.size() && seen < o.top_p * sum) seen += std::exp(logit(order[count++]) - largest);
  order.resize(o.top_p < 1 ? count : order.size());
  std::erase_if(order, [&](int32_t i) { return std::exp(logit(i) - largest) < o.min_p; });
  return {order.begin(), order.end()};
}

std::set<int32_t> kept(std::span<const float> logits, const SamplingOptions& options) {
  const RankedToken last = last_kept(logits, *std::ranges::max_element(logits), options);
  std::set<int32_t> tokens;
  for (int32_t i = 0; i < static_cast<int32_t>(logits.size()); ++i) {
    if (!is_likelier(last, {logits[static_cast<size_t>(i)], i})) tokens.insert(i);
  }
  return tokens;
}

TEST(Sampling, FiltersKeepWhatSortingKeeps) {
  std::vector<SamplingOptions> cases;
  for (const int64_t k : {0, 1, 5, 999, 100'000}) {
    for (const double p : {1e-9, 0.1, 0.5, 0.95, 0.999, 1.0}) {
      for (const double least : {0.0, 0.01, 0.3, 1.0})
        cases.push_back({.temperature = 1, .top_k = k, .top_p = p, .min_p = least});
    }
  }
  for (const int64_t n : {1, 2, 33, 2500}) {
    for (const auto& logits : {drawn(n, 1), drawn(n, 2, 0.1f), drawn_with_ties(n, 3)}) {
      for (const SamplingOptions& o : cases)
        ASSERT_EQ(kept(logits, o), kept_by_sorting(logits, o))
            << n << " logits, " << o.top_k << ' ' << o.top_p << ' ' << o.min_p;
    }
  }
}

TEST(Sampling, OfManyEqualLogitsTheFirstAreKept) {
  const std::vector<float> logits(3000, 1.5f);
  EXPECT_EQ(kept(logits, {.top_k = 3}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(kept(logits, {.top_p = 0.00099}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(choose(logits, {}).token, 0);
}

TEST(Sampling, GreedyTakesTheFirstOfTheLargest) {
  for (const int64_t n : {1, 15, 16, 17, 511, 512, 513, 2000}) {
    const std::vector<float> logits = drawn_with_ties(n, 4);
    const auto largest = std::ranges::max_element(logits) - logits.begin();
    EXPECT_EQ(choose(logits, {}).token, largest) << n;
    std::vector<float> reversed(logits.rbegin(), logits.rend());
    EXPECT_EQ(choose(reversed, {}).token, std::ranges::max_element(reversed) - reversed.begin()) << n;
  }
}

TEST(Sampling, FrequenciesAreTheProbabilities) {
  constexpr int64_t kDraws = 20'000;
  const std::vector<float> logits = drawn(40, 5, 1.5f);
  for (const SamplingOptions& o :
       {SamplingOptions{.temperature = 1, .seed = 3}, SamplingOptions{.temperature = 0.6, .seed = 4},
        SamplingOptions{.temperature = 1.7, .top_k = 12, .seed = 5},
        SamplingOptions{.temperature = 0.8, .top_p = 0.8, .min_p = 0.05}}) {
    const std::set<int32_t> kept = kept_by_sorting(logits, o);
    double sum = 0;
    for (const int32_t i : kept) sum += std::exp(logits[static_cast<size_t>(i)] / o.temperature);
    std::map<int32_t, int64_t> counts;
    for (int64_t i = 0; i < kDraws; ++i) ++counts[choose(logits, o, i).token];
    for (const auto& [token, count] : counts) ASSERT_TRUE(kept.contains(token)) << token;
    for (const int32_t i : kept) {
      const double p = std::exp(logits[static_cast<size_t>(i)] / o.temperature) / sum;
      const double deviation = std::sqrt(kDraws * p * (1 - p));
      EXPECT_NEAR(static_cast<double>(counts[i]), kDraws * p, 5 * deviation + 1) << i;
    }
  }
}

// All tokens are drawn from by blocks: the first, the last, short ones and those between.
TEST(Sampling, FrequenciesAreTheProbabilitiesInEveryBlock) {
  constexpr int64_t kDraws = 20'000, kPart = 100;
  std::vector<float> logits = drawn(1537, 15, 1);
  logits.back() = 5;
  std::vector<double> weights(16), counts(16);
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp(static_cast<double>(logits[i]));
    weights[i / kPart] += weight;
    sum += weight;
  }
  for (int64_t i = 0; i < kDraws; ++i)
    ++counts[static_cast<size_t>(choose(logits, {.temperature = 1, .seed = 2}, i).token / kPart)];
  for (size_t part = 0; part < weights.size(); ++part) {
    const double p = weights[part] / sum;
    EXPECT_NEAR(counts[part], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << part;
  }
}

TEST(Sampling, MaximaAreThoseOfThePlainLoop) {
  for (const int64_t n : {1, 31, 32, 33, 512, 513, 1600}) {
    for (std::vector<float> logits : {drawn(n, 16), drawn_with_ties(n, 17), std::vector<float>(1, -0.0F)}) {
      logits.resize(static_cast<size_t>(n), -std::numeric_limits<float>::infinity());
      for (float& logit : logits) logit = -std::abs(logit);
      const auto largest = std::ranges::max_element(logits);
      EXPECT_EQ(ops::cpu::largest_logit(logits).index, largest - logits.begin());
      EXPECT_EQ(ops::cpu::largest_logit(logits).value, *largest);
      std::vector<float> maxima((logits.size() + 31) / 32);
      ops::cpu::block_maxima(logits, maxima);
      for (size_t b = 0; b < maxima.size(); ++b) {
        const auto end = logits.begin() + static_cast<ptrdiff_t>(std::min(logits.size(), 32 * (b + 1)));
        EXPECT_EQ(maxima[b], *std::max_element(logits.begin() + static_cast<ptrdiff_t>(32 * b), end));
      }
    }
  }
}

TEST(Sampling, ADrawDependsOnSeedAndIndexAlone) {
  const std::vector<float> logits = drawn(500, 6, 0.5f);
  const SamplingOptions options{.temperature = 1, .seed = 7};
  std::vector<int32_t> first, again, other;
  for (int64_t i = 0; i < 50; ++i) {
    first.push_back(choose(logits, options, i).token);
    other.push_back(choose(logits, {.temperature = 1, .seed = 8}, i).token);
  }
  for (int64_t i = 50; i-- > 0;) again.push_back(choose(logits, options, i).token);
  std::ranges::reverse(again);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  EXPECT_GT(std::set<int32_t>(first.begin(), first.end()).size(), 20u);
}

TEST(Sampling, AVeryLowTemperatureIsGreedy) {
  const std::vector<float> logits = drawn(500, 9);
  for (const double temperature : {1e-4, 1e-300, 1e-320})
    EXPECT_EQ(choose(logits, {.temperature = temperature}, 3).token, choose(logits, {}).token) << temperature;
}

TEST(Sampling, PenaltiesChangeTheTokensThatWereThere) {
  const std::vector<float> logits = {2, 1.5f, -1, -1.2f, 0};
  const std::vector<int32_t> prompt = {0, 0}, text = {1, 1, 1};
  // 2 / 4 = 0.5 and 1.5 / 4 < 0.5, but 0 was not there.
  EXPECT_EQ(choose(logits, {.repetition_penalty = 4}, 0, prompt, text).token, 0);
  EXPECT_EQ(choose(logits, {.repetition_penalty = 4}, 0, {}, text).token, 0);
  const std::vector<int32_t> all = {0, 1, 2, 4};
  const std::vector<float> negative = {-3, -2, -1, -1.2f, -4};
  EXPECT_EQ(choose(negative, {.repetition_penalty = 1.3}, 0, all).token, 3);  // -1 * 1.3 < -1.2
  // Presence and frequency count the text alone, by token and by time.
  EXPECT_EQ(choose(logits, {.presence_penalty = 1}, 0, prompt).token, 0);
  const std::vector<int32_t> zero = {0};
  EXPECT_EQ(choose(logits, {.presence_penalty = 1}, 0, {}, zero).token, 1);
  const std::vector<int32_t> twice = {0, 0};
  EXPECT_EQ(choose(logits, {.presence_penalty = 0.4}, 0, {}, twice).token, 0);
  EXPECT_EQ(choose(logits, {.frequency_penalty = 0.4}, 0, {}, twice).token, 1);
  // Beyond the vocabulary there is nothing to change.
  const std::vector<int32_t> strange = {-1, 5, 1 << 30};
  EXPECT_EQ(choose(logits, {.repetition_penalty = 9, .frequency_penalty = 9}, 0, strange, strange).token, 0);
}

TEST(Sampling, LogProbabilitiesAreThoseBeforeAnyFilter) {
  const std::vector<float> logits = drawn(1001, 10);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const std::vector<int32_t> text = {3, 4, 4};
  for (const SamplingOptions& o :
       {SamplingOptions{}, SamplingOptions{.temperature = 0.5, .top_k = 5, .frequency_penalty = 1}}) {
    const SampledToken sampled = choose(logits, o, 1, {}, text);
    const double expected = logits[static_cast<size_t>(sampled.token)] - std::log(sum);
    EXPECT_NEAR(sampled.log_probability, expected, 1e-6);
    EXPECT_NEAR(log_probability(logits, sampled.token), expected, 1e-12);
  }
}

TEST(Sampling, ExpsAreThoseOfTheStandardLibrary) {
  std::vector<float> logits;
  for (int i = 0; i < 3001; ++i) logits.push_back(-static_cast<float>(i) * 0.2371f);
  logits.push_back(-std::numeric_limits<float>::infinity());
  std::vector<double> weights(logits.size());
  ops::cpu::exps_of(logits, 0, 1, weights);
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = logits[i] < -700 ? 0 : std::exp(static_cast<double>(logits[i]));
    EXPECT_NEAR(weights[i], expected, 1e-15 * expected) << logits[i];
    sum += expected;
  }
  EXPECT_NEAR(ops::cpu::sum_of_exps(logits, 0), sum, 1e-14 * sum);
}

TEST(Sampling, RowsBeyondTheVocabularyAreNotLookedAt) {
  std::vector<float> logits = drawn(64, 11);
  const SampledToken expected = sample_token(std::span(logits).first(50), 50, {.temperature = 1}, {}, {}, 4);
  for (size_t i = 50; i < 64; ++i) logits[i] = std::numeric_limits<float>::quiet_NaN();
  const SampledToken padded = sample_token(logits, 50, {.temperature = 1}, {}, {}, 4);
  EXPECT_EQ(padded.token, expected.token);
  EXPECT_EQ(padded.log_probability, expected.log_probability);
}

TEST(Sampling, WhatIsNoNumberIsAnError) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{0}, size_t{40}, size_t{600}}) {
      std::vector<float> logits = drawn(601, 12);
      logits[at] = bad;
      for (const double temperature : {0.0, 1.0}) {
        try {
          choose(logits, {.temperature = temperature});
          FAIL() << at;
        } catch (const UserError& error) {
          EXPECT_EQ(error.code(), ExitCode::numerics);
        }
      }
    }
  }
  std::vector<float> masked(100, -std::numeric_limits<float>::infinity());
  EXPECT_THROW(choose(masked, {}), UserError);
  masked[70] = -3;  // the only one that may be
  EXPECT_EQ(choose(masked, {.temperature = 2}).token, 70);
  EXPECT_EQ(choose(masked, {.temperature = 2, .top_k = 50, .top_p = 0.9, .min_p = 0.1}).token, 70);
}

TEST(Sampling, ErrorsNameTheOptionAndWhatIsAllowed) {
  EXPECT_THAT(errors_of(SamplingOptions()), testing::IsEmpty());
  EXPECT_THAT(errors_of({.temperature = 1, .top_k = 40, .top_p = 0.9, .min_p = 0.05}), testing::IsEmpty());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(errors_of({.temperature = -1}),
              testing::ElementsAre("--temperature is -1; allowed: 0 (greedy) or more"));
  EXPECT_THAT(
      errors_of({.top_k = -1, .top_p = 0, .min_p = 1.5, .repetition_penalty = 0}),
      testing::ElementsAre(testing::HasSubstr("--top-k"), testing::HasSubstr("--top-p"),
                           testing::HasSubstr("--min-p"), testing::HasSubstr("--repetition-penalty")));
  EXPECT_THAT(errors_of({.temperature = nan,
                         .top_p = nan,
                         .min_p = nan,
                         .repetition_penalty = nan,
                         .presence_penalty = nan,
                         .frequency_penalty = nan}),
              testing::SizeIs(6));
}

}  // namespace
}  // namespace trireme
