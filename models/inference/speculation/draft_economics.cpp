#include "models/inference/speculation/draft_economics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trireme {

namespace {

constexpr double kMargin = 1.05;     // less than this is within what costs are known to
constexpr double kSpent = 0.005;     // of the time, on drafts that do not pay
constexpr int64_t kFirstWindow = 4;  // of a new text
constexpr double kTextKeeps = 0.9, kAllKeep = 0.98;
constexpr double kLeastRate = 0.02, kMostRate = 0.98;  // nothing is certain after a few tries

}  // namespace

// Long drafts count as four tokens: they are as right or wrong as their first ones.
void DraftEconomics::Acceptance::add(const DraftOutcome& outcome, double keeps) {
  const int64_t looked_at = std::min(outcome.accepted + 1, outcome.drafted);
  const double weight = std::min(1.0, 4 / static_cast<double>(looked_at));
  tried = keeps * tried + weight * static_cast<double>(looked_at);
  right = keeps * right + weight * static_cast<double>(outcome.accepted);
}

DraftEconomics::Text& DraftEconomics::text_of(int64_t request) {
  const auto [place, is_new] = texts_.try_emplace(request);
  if (is_new) {
    constexpr double kWeight = 2;  // of what is known of others
    place->second = {.acceptance = {kWeight, kWeight * all_.rate()}, .window = kFirstWindow};
  }
  return place->second;
}

bool DraftEconomics::is_far_behind(const Text& text) const {
  constexpr int64_t kFar = 16;
  return text.last_asked == 0 || num_choices_ - text.last_asked > kFar;
}

bool DraftEconomics::may_ask(const Candidate& sequence, int64_t num_sequences) {
  if (sequence.most <= 0) return false;
  return for_reading_ > -2 * costs_.seconds(num_sequences) || !is_far_behind(text_of(sequence.request));
}

std::vector<DraftEconomics::Gain> DraftEconomics::gains_of(std::span<const Candidate> sequences) {
  std::vector<Gain> gains;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (!may_ask(sequences[i], std::ssize(sequences))) continue;
    const Text& text = text_of(sequences[i].request);
    const double rate = std::clamp(text.acceptance.rate(), kLeastRate, kMostRate);
    double tokens = 1;
    for (int64_t depth = 1; depth <= std::min(sequences[i].most, text.window); ++depth)
      gains.push_back({tokens *= rate, i, depth});
  }
  // Of one text they fall with depth, so that those before a token come before it.
  std::ranges::stable_sort(gains, std::greater<>(), &Gain::tokens);
  return gains;
}

// The first so many gains, up to some depth, that yield the most tokens a second.
bool DraftEconomics::pays(std::span<const Gain> gains, std::span<int64_t> counts) const {
  const auto sequences = std::ssize(counts);
  int64_t deepest = 0, best_depth = 0, best_rows = 0;
  for (const Gain& gain : gains) deepest = std::max(deepest, gain.depth);
  double best = kMargin * static_cast<double>(sequences) / costs_.seconds(sequences);
  const bool has_steps = step_seconds_ > 0;
  for (int64_t depth = has_steps ? 1 : deepest; depth <= deepest; ++depth) {
    double tokens = static_cast<double>(sequences);
    int64_t rows = sequences;
    for (const Gain& gain : gains) {
      if (gain.depth > depth) continue;
      tokens += gain.tokens;
      if (++rows > 2 * costs_.most_rows()) break;
      const double rate = tokens / (costs_.seconds(rows) + step_seconds_ * static_cast<double>(depth));
      if (rate <= best) continue;
      best = rate;
      best_depth = depth;
      best_rows = rows;
    }
  }
  int64_t left = best_rows - sequences;
  for (const Gain& gain : gains) {
    if (left <= 0) break;
    if (gain.depth > best_depth) continue;
    counts[gain.sequence] = gain.depth;
    --left;
  }
  return best_rows > 0;
}

double DraftEconomics::cost_of_probe(int64_t sequences) const {
  return std::max(costs_.seconds(sequences + 1) - costs_.seconds(sequences), 0.0) + step_seconds_;
}

// A token each for those texts that were not asked for the longest time, as many as there is a purse for.
void DraftEconomics::probe(std::span<const Candidate> sequences, std::span<int64_t> counts) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::erase_if(order, [&](size_t i) { return !may_ask(sequences[i], std::ssize(sequences)); });
  std::ranges::stable_sort(order, std::less<>(),
                           [&](size_t i) { return text_of(sequences[i].request).last_asked; });
  const double each = cost_of_probe(std::ssize(sequences));
  double left = purse_;
  for (const size_t i : order) {
    if (left < each) return;
    left -= each;
    counts[i] = 1;
  }
}

std::vector<DraftEconomics::Choice> DraftEconomics::choose(std::span<const Candidate> sequences) {
  std::vector<Choice> choices(sequences.size());
  const auto num_sequences = std::ssize(sequences);
  // Without drafts now and then, so that what they have to beat is known.
  if (sequences.empty() || costs_.is_stale(num_sequences)) return choices;
  ++num_choices_;
  std::vector<int64_t> counts(sequences.size());
  const bool may_lose = purse_ > -costs_.seconds(num_sequences);
  if (!may_lose || !pays(gains_of(sequences), counts)) probe(sequences, counts);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    Text& text = text_of(sequences[i].request);
    text.reads = is_far_behind(text);
    text.last_asked = num_choices_;
    choices[i] = {counts[i], text.reads};
  }
  return choices;
}

void DraftEconomics::learn(std::span<const DraftOutcome> outcomes, int64_t sequences, const Times& seconds) {
  if (sequences <= 0 || !(seconds.all > 0)) return;
  int64_t rows = sequences, accepted = 0, steps = 0;
  for (const DraftOutcome& outcome : outcomes) {
    if (outcome.drafted <= 0) continue;
    Text& text = text_of(outcome.request);
    text.acceptance.add(outcome, kTextKeeps);
    all_.add(outcome, kAllKeep);
    const bool is_right = outcome.accepted == outcome.drafted;
    if (!is_right) text.window = std::min(text.window, outcome.accepted + 1);
    if (is_right) text.window = std::max(text.window, 2 * outcome.drafted);
    rows += outcome.drafted;
    accepted += outcome.accepted;
    if (!text.reads) steps = std::max(steps, outcome.drafted);
  }
  costs_.learn(rows, std::max(seconds.all - seconds.reading - seconds.drafting, seconds.all / 1000));
  if (steps > 0) {
    const double step = seconds.drafting / static_cast<double>(steps);
    step_seconds_ = step_seconds_ == 0 ? step : step_seconds_ + 0.2 * (step - step_seconds_);
  }
  const double plain = costs_.seconds(sequences);
  const double won = static_cast<double>(accepted) * plain / static_cast<double>(sequences);
  const double lost = (rows == sequences ? 0 : costs_.seconds(rows) - plain) + seconds.drafting;
  const double left = kSpent * seconds.all + won - lost;
  purse_ = std::min(purse_ + left, plain);
  constexpr double kMostPasses = 64;
  for_reading_ = std::min(for_reading_ + left - seconds.reading, kMostPasses * plain);
}

}  // namespace trireme
