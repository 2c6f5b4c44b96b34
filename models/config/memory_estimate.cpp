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

}  // namespace

int64_t MemoryEstimate::total() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

MemoryEstimate estimate_memory(const ModelConfig& config, DType precision, int64_t micro_batch,
                               int64_t seq_len) {
  const StateBytes state = state_bytes(size_of(config).parameters, precision);
  const auto element = static_cast<int64_t>(size_of(precision));
  const int64_t tokens = micro_batch * seq_len;
  const int64_t last = (2 * config.hidden_size + config.vocab_size) * element;
  const int64_t work = 2 * (config.hidden_size + config.ffn_size) * element;
  MemoryEstimate estimate;
  estimate[MemoryCategory::weights] = state.weights;
  estimate[MemoryCategory::gradients] = state.gradients;
  estimate[MemoryCategory::optimizer] = state.optimizer;
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
