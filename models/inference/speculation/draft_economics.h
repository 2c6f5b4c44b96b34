// DraftEconomics: how many tokens are worth drafting, from what passes were measured to take and how many
// drafts were right. Without a clock: equal numbers give equal answers.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/inference/draft_source.h"
#include "models/inference/speculation/pass_costs.h"

namespace trireme {

/// For a text whose drafts are right with probability a each, d of them are good for a + a^2 + ... + a^d
/// tokens of a pass (Leviathan et al., arXiv 2211.17192, equation 1). Drafted are those tokens, the likeliest
/// first, with which a pass yields the most tokens per second, if that is more than without. How often drafts
/// were right counts less the longer ago it was; a text's draft is at most twice as long as the last one that
/// was right, and after a wrong one no longer than what was right of it, since texts repeat themselves
/// in runs. What never pays is tried again, at the price of a two-hundredth of the time. Texts that a source
/// has to read first are only begun while that was won back before.
class DraftEconomics {
 public:
  struct Candidate {
    int64_t request = 0;
    int64_t most = 0;
  };
  struct Choice {
    int64_t count = 0;   ///< tokens to draft
    bool reads = false;  ///< the text, or much of it, is new to the source
  };
  /// For each of the sequences of the next pass.
  std::vector<Choice> choose(std::span<const Candidate> sequences);
  struct Times {
    double reading = 0;   ///< with drafts of the texts that were to be read
    double drafting = 0;  ///< of the others
    double all = 0;       ///< with these two
  };
  /// What came of a pass over `sequences` tokens and drafts.
  void learn(std::span<const DraftOutcome> outcomes, int64_t sequences, const Times& seconds);
  void forget(int64_t request) { texts_.erase(request); }

 private:
  /// Drafted tokens that were looked at, and those that were right, by weight.
  struct Acceptance {
    double tried = 0, right = 0;
    double rate() const { return right / tried; }
    void add(const DraftOutcome& outcome, double keeps);
  };
  struct Text {
    Acceptance acceptance;
    int64_t window = 0;      ///< tokens that are drafted at most
    int64_t last_asked = 0;  ///< number of the choice; 0: never
    bool reads = false;      ///< in the last choice
  };
  /// A token that could be drafted, with all those before it.
  struct Gain {
    double tokens = 0;  ///< expected
    size_t sequence = 0;
    int64_t depth = 0;  ///< from 1
  };
  Text& text_of(int64_t request);
  bool is_far_behind(const Text& text) const;
  bool may_ask(const Candidate& sequence, int64_t num_sequences);
  std::vector<Gain> gains_of(std::span<const Candidate> sequences);
  bool pays(std::span<const Gain> gains, std::span<int64_t> counts) const;
  void probe(std::span<const Candidate> sequences, std::span<int64_t> counts);
  double cost_of_probe(int64_t sequences) const;

  PassCosts costs_;
  double step_seconds_ = 0;  // that a source takes for each token of the longest draft
  Acceptance all_{2, 1.4};   // of all texts; the beginning is a guess
  std::unordered_map<int64_t, Text> texts_;
  // Seconds won by speculation, and a two-hundredth of the others, within bounds: what may be lost.
  double purse_ = 0;
  double for_reading_ = 0;  // the same without much of a bound, less what reading took
  int64_t num_choices_ = 0;
};

}  // namespace trireme
