#include "models/config/memory_estimate.h"

#include <algorithm>
#include <numeric>

#include "models/config/model_size.h"

namespace trireme {

namespace {

int64_t layer_bytes_per_token(const ModelConfig& config, int64_t element) {
  const int64_t ffn_tensors = config.activation == ActivationKind::swiglu ? 3 : 2;
  const int64_t attention = config.qkv_size() + config.num_heads * config.head_dim();
  const int64_t elements = 4 * config.hidden_size + attention + ffn_tensors * config.ffn_size;
  constexpr int64_t kF32 = 4, kNormStatistics = 4;
  return elements * element + (kNormStatistics + config.num_heads) * kF32;
}

/// Gradients that stage 2 holds besides its part.
int64_t bytes_in_buckets(const ModelConfig& config, const StateDivision& division, int64_t all) {
  constexpr int64_t kF32 = 4;
  const ModelSize size = size_of(config);
  const int64_t table = config.vocab_size * config.hidden_size * kF32;
  const int64_t layer = size.non_embedding * kF32 / config.num_layers;
  return std::min(all, std::max(layer, table) + 2 * division.bucket_bytes +
                           (config.tied_embeddings ? std::min(layer, table) : 0));
}

}  // namespace

int64_t MemoryEstimate::total() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

MemoryEstimate estimate_memory(const ModelConfig& config, DType precision, int64_t micro_batch,
                               int64_t seq_len, const StateDivision& division, bool accumulates) {
  const StateBytes state = state_bytes(size_of(config).parameters, precision);
  const auto element = static_cast<int64_t>(size_of(precision));
  const int64_t tokens = micro_batch * seq_len;
  const int64_t last = (2 * config.hidden_size + config.vocab_size) * element;
  const int64_t work = 2 * (config.hidden_size + config.ffn_size) * element;
  MemoryEstimate estimate;
  estimate[MemoryCategory::weights] = state.weights;
  estimate[MemoryCategory::gradients] = state.gradients;
  estimate[MemoryCategory::optimizer] = state.optimizer / (division.zero_stage >= 1 ? division.parts : 1);
  if (division.zero_stage >= 2 && division.parts > 1) {
    estimate[MemoryCategory::gradients] =
        state.gradients / division.parts +
        (accumulates ? state.gradients : bytes_in_buckets(config, division, state.gradients));
  }
  const double activations =
      static_cast<double>(tokens) *
      (static_cast<double>(config.num_layers * layer_bytes_per_token(config, element)) +
       static_cast<double>(last + work));
  // Absurd sizes are to be shown as such, not to overflow.
  estimate[MemoryCategory::activations] = static_cast<int64_t>(std::min(activations, 1e18));
  estimate[MemoryCategory::buffers] = tokens * 2 * static_cast<int64_t>(sizeof(int32_t));
  return estimate;
}

}  // namespace trireme
