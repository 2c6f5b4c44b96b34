// DraftRule: where a draft by a model's own first blocks ends.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "models/config/model_config.h"

namespace trireme {

/// What a token more of a draft costs, of the time of a pass over one token without drafts.
struct DraftCosts {
  double step = 0;  ///< the first blocks and the head
  double row = 0;   ///< in the check, whose weights are read for all rows together
};
/// By the operations of the layers, whose weights are what a pass over few tokens reads.
DraftCosts draft_costs(const ModelConfig& config, int64_t blocks);

/// A token is drafted where the tokens that it is expected to be good for, the probability that it and all
/// before it are right, are more than passes yield in the time that it costs (the marginal value theorem,
/// Charnov 1976: so the mean rate is largest). How often a token is right is learned by how likely the exit
/// thought it. Without a clock: equal numbers give equal answers.
class DraftRule {
 public:
  explicit DraftRule(const DraftCosts& costs) : costs_(costs) {}

  /// How often tokens of such a probability, by the exit, were right where those before them were.
  double chance(double confidence) const;
  /// Where a pass is over `num_texts` texts.
  bool pays(double chance_of_all, int64_t num_texts) const;
  /// Of a draft: the exit's probabilities of its tokens, and how many were right.
  void learn(std::span<const double> confidences, int64_t accepted, int64_t num_texts);

 private:
  struct Bin {
    double tried = 0, right = 0;
  };
  static constexpr size_t kBins = 10;
  static size_t bin_of(double confidence);
  double cost_of(int64_t num_texts) const;

  DraftCosts costs_;
  std::array<Bin, kBins> bins_ = {};
  double tokens_ = 13, passes_ = 10;  // what passes yield; the beginning is a guess
};

}  // namespace trireme
