#include "models/config/memory_estimate.h"

#include <algorithm>
#include <numeric>

#include "models/config/model_size.h"

namespace trireme {

namespace {

int64_t divided(int64_t n, int64_t ranks) { return (n + ranks - 1) / ranks; }

/// What one rank holds of a model, its widths divided.
struct RankSize {
  int64_t outer, heads, kv_heads, ffn, vocab, norm_statistics;

  RankSize(const ModelConfig& c, const ParallelPlan& plan)
      : outer(divided(c.hidden_size, plan.sequence ? plan.tensor : 1)),
        heads(divided(c.num_heads, plan.tensor)),
        kv_heads(divided(c.num_kv_heads, plan.tensor)),
        ffn(divided(c.ffn_size, plan.tensor)),
        vocab(divided(c.vocab_size, plan.tensor)),
        norm_statistics(divided(4, plan.sequence ? plan.tensor : 1)) {}
};

int64_t parameters_of_rank(
    const ModelConfig& config, const ParallelPlan& plan,
    bool (*counts)(const ParameterInfo&) = [](const ParameterInfo&) { return true; }) {
  int64_t count = 0;
  for (const ParameterInfo& row : parameter_table(config)) {
    if (!counts(row)) continue;
    const auto is = [&](const char* part) { return row.name.find(part) != std::string::npos; };
    const bool whole =
        is("norm.") || is("output.bias") || is("down.bias") || is("embedding.positions") || is("router.");
    const bool key_value = is(".key.") || is(".value.");
    const int64_t ranks = is_of_expert(row) ? int64_t{plan.tensor} * plan.expert
                          : key_value       ? std::min<int64_t>(plan.tensor, config.num_kv_heads)
                                            : plan.tensor;
    count += whole ? row.count() : divided(row.count(), ranks);
  }
  return count;
}

int64_t layer_bytes_per_token(const ModelConfig& config, const RankSize& rank, int64_t element) {
  const int64_t ffn_tensors = config.activation == ActivationKind::swiglu ? 3 : 2;
  const int64_t attention = 2 * (rank.heads + rank.kv_heads) * config.head_dim();
  const int64_t elements = 4 * rank.outer + attention + ffn_tensors * rank.ffn;
  constexpr int64_t kF32 = 4;
  return elements * element + (rank.norm_statistics + rank.heads) * kF32;
}

/// A token of even load in a block with experts, in place of the dense feed-forward part: its k rows before
/// and behind the experts, what those keep, the shared expert's, and the router's logits and choices.
int64_t expert_bytes_per_token(const ModelConfig& config, const ParallelPlan& plan, int64_t element) {
  const MoeConfig& moe = config.moe;
  const int64_t ffn_tensors = config.activation == ActivationKind::swiglu ? 3 : 2;
  const int64_t row = 2 * config.hidden_size + ffn_tensors * divided(config.expert_ffn_size(), plan.tensor);
  const int64_t shared = ffn_tensors * divided(moe.shared_ffn_size, plan.tensor);
  constexpr int64_t kF32 = 4;
  return (moe.experts_per_token * row + shared) * element +
         (moe.num_experts + 1 + 3 * moe.experts_per_token) * kF32;
}

/// What blocks with experts keep beyond dense ones, over all blocks.
double extra_bytes_per_token(const ModelConfig& config, const RankSize& rank, const ParallelPlan& plan,
                             int64_t element) {
  int64_t num_blocks = 0;
  for (int64_t i = 0; i < config.num_layers; ++i) num_blocks += config.moe.is_in(i) ? 1 : 0;
  if (num_blocks == 0) return 0;
  const int64_t ffn_tensors = config.activation == ActivationKind::swiglu ? 3 : 2;
  return static_cast<double>(
      num_blocks * (expert_bytes_per_token(config, plan, element) - ffn_tensors * rank.ffn * element));
}

/// Ring attention's: two blocks of keys and values, two of their gradients and a sum of query gradients.
int64_t ring_bytes_per_token(const ModelConfig& config, const RankSize& rank, int64_t element) {
  constexpr int64_t kF32 = 4;
  return (4 * rank.kv_heads * (element + kF32) + rank.heads * kF32) * config.head_dim();
}

bool is_matrix(const ParameterInfo& row) { return row.shape.rank() == 2; }

/// Weights under stage 3: this rank's part of the matrices, the vectors, and the matrices of two layers.
int64_t divided_weights(const ModelConfig& config, const ParallelPlan& plan, int64_t element, int parts) {
  const int64_t matrices = parameters_of_rank(config, plan, is_matrix);
  const int64_t vectors = parameters_of_rank(config, plan) - matrices;
  const auto of = [&](bool (*counts)(const ParameterInfo&)) {
    return parameters_of_rank(config, plan, counts);
  };
  const int64_t layer =
      of([](const auto& row) { return is_matrix(row) && row.name.starts_with("layers.0."); });
  const int64_t embedding = of([](const auto& row) { return row.name.starts_with("embedding."); });
  const int64_t head = of([](const auto& row) { return row.name == "head.weight"; });
  constexpr int64_t kF32 = 4;
  return divided(matrices, parts) * element + vectors * kF32 +
         std::min(matrices, layer + std::max({config.num_layers > 1 ? layer : 0, embedding, head})) * element;
}

/// Gradients that stages 2 and 3 hold besides their part.
int64_t bytes_in_buckets(const ModelConfig& config, const StateDivision& division, int64_t all) {
  constexpr int64_t kF32 = 4;
  const ModelSize size = size_of(config);
  const int64_t table = config.vocab_size * config.hidden_size * kF32;
  const int64_t layer = size.non_embedding * kF32 / config.num_layers;
  const int64_t bucket =
      division.zero_stage == 3 ? std::min(division.bucket_bytes, layer) : division.bucket_bytes;
  return std::min(
      all, std::max(layer, table) + 2 * bucket + (config.tied_embeddings ? std::min(layer, table) : 0));
}

}  // namespace

int64_t MemoryEstimate::total() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

MemoryEstimate estimate_memory(const ModelConfig& config, DType precision, int64_t micro_batch,
                               int64_t seq_len, const ParallelPlan& plan, const StateDivision& division,
                               bool accumulates) {
  const StateBytes state = state_bytes(parameters_of_rank(config, plan), precision, division.master);
  const RankSize rank(config, plan);
  const auto element = static_cast<int64_t>(size_of(precision));
  const int64_t tokens = divided(micro_batch * seq_len, plan.context);
  const int64_t last = (2 * rank.outer + rank.vocab) * element;
  const int64_t work = 2 * (config.hidden_size + rank.ffn) * element;
  MemoryEstimate estimate;
  estimate[MemoryCategory::weights] = state.weights;
  estimate[MemoryCategory::gradients] = state.gradients;
  estimate[MemoryCategory::optimizer] = state.optimizer / (division.zero_stage >= 1 ? division.parts : 1);
  if (division.zero_stage >= 2 && division.parts > 1) {
    estimate[MemoryCategory::gradients] =
        state.gradients / division.parts +
        (accumulates ? state.gradients : bytes_in_buckets(config, division, state.gradients));
  }
  if (division.zero_stage >= 3 && division.parts > 1) {
    estimate[MemoryCategory::weights] = divided_weights(config, plan, element, division.parts);
  }
  const double activations =
      static_cast<double>(tokens) *
      (static_cast<double>(config.num_layers * layer_bytes_per_token(config, rank, element)) +
       extra_bytes_per_token(config, rank, plan, element) + static_cast<double>(last + work));
  // Absurd sizes are to be shown as such, not to overflow.
  estimate[MemoryCategory::activations] = static_cast<int64_t>(std::min(activations, 1e18));
  estimate[MemoryCategory::buffers] = tokens * 2 * static_cast<int64_t>(sizeof(int32_t));
  if (plan.context > 1)
    estimate[MemoryCategory::buffers] += tokens * ring_bytes_per_token(config, rank, element);
  return estimate;
}

}  // namespace trireme
