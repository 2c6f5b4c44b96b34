#include "models/cost/layer_placement.h"

#include <fmt/format.h>

#include "models/spec/describe.h"
#include "parallel/plan/placement.h"

namespace trireme {

std::vector<double> layer_costs(const ModelConfig& config, int64_t seq_len) {
  constexpr double kOperationsPerByte = 10, kBytes = 4;
  const ModelSpec spec = spec_of(config);
  std::vector<double> costs;
  for (const LayerProducts& products : describe_products(spec)) costs.push_back(products.flops(seq_len));
  costs.front() = static_cast<double>(spec.hidden_size) * kBytes * kOperationsPerByte;
  return costs;
}

std::vector<int> layer_placement(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan) {
  return place_layers(layer_costs(config, seq_len), plan.pipeline * plan.virtual_stages);
}

std::string placement_text(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan) {
  const std::vector<int> begins = layer_placement(config, seq_len, plan);
  const int num_layers = begins.back();
  std::vector<std::pair<std::string, int>> runs;  // of equal pieces
  for (size_t s = 0; s + 1 < begins.size(); ++s) {
    const bool has_embedding = begins[s] == 0, has_head = begins[s + 1] == num_layers;
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
