#include "models/inference/speculation/draft_rule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/cost/layer_placement.h"

namespace trireme {

namespace {

// Of a pass over one row: measured on CPUs, from f32 to int4.
constexpr double kRowCost = 0.1;
constexpr double kOwnShare = 0.55;  // of what a right token is good for: the rest is that others may follow
constexpr double kKeeps = 0.99;     // what was learned counts less the longer ago it was
constexpr double kGuessed = 4;      // tokens that the first guess counts as

}  // namespace

DraftCosts draft_costs(const ModelConfig& config, int64_t blocks) {
  const std::vector<double> costs = layer_costs(config, 1);
  const auto sum = [&](int64_t end) { return std::accumulate(costs.begin(), costs.begin() + 1 + end, 0.0); };
  const double head = costs.back();
  return {(sum(blocks) + head) / (sum(std::ssize(costs) - 2) + head), kRowCost};
}

size_t DraftRule::bin_of(double confidence) {
  return static_cast<size_t>(std::clamp(confidence, 0.0, 0.999) * kBins);
}

// Whom the exit doubts the whole model often takes all the same.
double DraftRule::chance(double confidence) const {
  const Bin& bin = bins_[bin_of(confidence)];
  return (kGuessed * std::sqrt(confidence) + bin.right) / (kGuessed + bin.tried);
}

// Texts share the reading of weights: the more there are, the less of a pass is a text's.
double DraftRule::cost_of(int64_t num_texts) const {
  const auto texts = static_cast<double>(num_texts);
  return costs_.step + costs_.row * texts / (1 + costs_.row * (texts - 1));
}

bool DraftRule::pays(double chance_of_all, int64_t num_texts) const {
  return chance_of_all > kOwnShare * cost_of(num_texts) * std::max(1.0, tokens_ / passes_);
}

void DraftRule::learn(std::span<const double> confidences, int64_t accepted, int64_t num_texts) {
  for (Bin& bin : bins_) bin = {kKeeps * bin.tried, kKeeps * bin.right};
  const int64_t drafted = std::ssize(confidences);
  for (int64_t i = 0; i < std::min(accepted + 1, drafted); ++i) {
    Bin& bin = bins_[bin_of(confidences[static_cast<size_t>(i)])];
    ++bin.tried;
    if (i < accepted) ++bin.right;
  }
  tokens_ = kKeeps * tokens_ + 1 + static_cast<double>(accepted);
  passes_ = kKeeps * passes_ + 1 + cost_of(num_texts) * static_cast<double>(drafted);
}

}  // namespace trireme
