#include "models/cost/layer_placement.h"

#include <fmt/format.h>

#include "models/cost/model_size.h"
#include "parallel/plan/placement.h"

namespace trireme {

namespace {

// Blocks with experts and dense ones differ in their feed-forward part.
void tell_blocks_apart(const ModelConfig& c, std::vector<double>& costs) {
  const double matrices = c.activation == ActivationKind::swiglu ? 3 : 2;
  const auto hidden = static_cast<double>(c.hidden_size);
  const double dense = 2 * matrices * hidden * static_cast<double>(c.ffn_size);
  const double mixture =
      2 * hidden *
      (static_cast<double>(c.moe.num_experts) +
       matrices * static_cast<double>(c.moe.experts_per_token * c.expert_ffn_size() + c.moe.shared_ffn_size));
  double share = 0;  // of blocks with experts
  for (int64_t i = 0; i < c.num_layers; ++i)
    share += c.moe.is_in(i) ? 1.0 / static_cast<double>(c.num_layers) : 0;
  const double mean = share * mixture + (1 - share) * dense;
  for (int64_t i = 0; i < c.num_layers; ++i)
    costs[static_cast<size_t>(i) + 1] += (c.moe.is_in(i) ? mixture : dense) - mean;
}

}  // namespace

std::vector<double> layer_costs(const ModelConfig& c, int64_t seq_len) {
  constexpr double kOperationsPerByte = 10, kBytes = 4;
  const auto hidden = static_cast<double>(c.hidden_size);
  const double head = 2 * static_cast<double>(c.vocab_size) * hidden;
  const double blocks = forward_flops_per_token(c, seq_len) - head;
  std::vector<double> costs(static_cast<size_t>(c.num_layers) + 2,
                            blocks / static_cast<double>(c.num_layers));
  if (c.moe.num_experts > 0) tell_blocks_apart(c, costs);
  costs.front() = hidden * kBytes * kOperationsPerByte;
  costs.back() = head;
  return costs;
}

std::vector<int> layer_placement(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan) {
  return place_layers(layer_costs(config, seq_len), plan.pipeline * plan.virtual_stages);
}

std::string placement_text(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan) {
  const std::vector<int> begins = layer_placement(config, seq_len, plan);
  const int last = static_cast<int>(config.num_layers) + 1;
  std::vector<std::pair<std::string, int>> runs;  // of equal pieces
  for (size_t s = 0; s + 1 < begins.size(); ++s) {
    const bool has_embedding = begins[s] == 0, has_head = begins[s + 1] == last + 1;
    const int num_blocks = begins[s + 1] - begins[s] - (has_embedding ? 1 : 0) - (has_head ? 1 : 0);
    std::string piece = has_embedding ? "embedding" : "";
    const auto append = [&](const std::string& more) { piece += (piece.empty() ? "" : " + ") + more; };
    if (num_blocks > 0) append(fmt::format("{} block{}", num_blocks, num_blocks == 1 ? "" : "s"));
    if (has_head) append("head");
    if (runs.empty() || runs.back().first != piece) runs.emplace_back(piece, 0);
    ++runs.back().second;
  }
  constexpr size_t kMostShown = 8;
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs.size() > kMostShown && i == kMostShown / 2) {
      text += " | ...";
      i = runs.size() - kMostShown / 2;
    }
    const auto& [piece, count] = runs[i];
    for (int k = 0; k < (count < 3 ? count : 1); ++k) {
      text += (text.empty() ? "" : " | ") + (count < 3 ? piece : fmt::format("{} x ({})", count, piece));
    }
  }
  return text;
}

}  // namespace trireme
