#include "models/families/family.h"

#include "models/families/table.h"
#include "runtime/base/error.h"

namespace trireme {

const Family& family_of(ModelFamily family) {
  for (const Family& entry : families()) {
    if (entry.family == family) return entry;
  }
  TRIREME_CHECK(false, "family {} is in no table", static_cast<int>(family));
  return families().front();
}

std::span<const Family> families() {
#define TRIREME_MAKE_FAMILY(name) name##_family(),
  static const std::vector<Family> all = {TRIREME_FAMILIES(TRIREME_MAKE_FAMILY)};
#undef TRIREME_MAKE_FAMILY
  return all;
}

std::string_view to_string(ModelFamily family) { return family_of(family).name; }

void apply_family(ModelConfig& config, ModelFamily family) {
  const ModelConfig usual;
  config.family = family;
  config.norm = usual.norm;
  config.activation = usual.activation;
  config.positions = usual.positions;
  config.bias = usual.bias;
  config.tied_embeddings = usual.tied_embeddings;
  config.given_head_dim = usual.given_head_dim;
  config.norm_placement = usual.norm_placement;
  config.qk_norm = usual.qk_norm;
  config.scales_embedding = usual.scales_embedding;
  config.query_scalar = usual.query_scalar;
  config.attention_soft_cap = usual.attention_soft_cap;
  config.logit_soft_cap = usual.logit_soft_cap;
  config.window = usual.window;
  config.window_pattern = usual.window_pattern;
  config.norm_eps = usual.norm_eps;
  config.rotary_theta = usual.rotary_theta;
  config.parallel_residual = usual.parallel_residual;
  config.window_from = usual.window_from;
  config.rotary_dims = usual.rotary_dims;
  config.rotary_local_theta = usual.rotary_local_theta;
  config.no_rotary_every = usual.no_rotary_every;
  family_of(family).apply(config);
}

int64_t default_ffn_size(const ModelConfig& config) { return family_of(config.family).ffn_size(config); }

int64_t plain_ffn_size(const ModelConfig& config) { return 4 * config.inner_size(); }

int64_t gated_ffn_size(const ModelConfig& config) {
  constexpr int64_t kMultiple = 256;
  return (8 * config.inner_size() / 3 + kMultiple - 1) / kMultiple * kMultiple;
}

ModelConfig sized_model(std::string_view name, ModelFamily family, const ModelSizes& sizes) {
  ModelConfig config;
  apply_family(config, family);
  config.name = name;
  config.num_layers = sizes.layers;
  config.hidden_size = sizes.hidden;
  config.num_heads = sizes.heads;
  config.num_kv_heads = sizes.kv_heads;
  config.ffn_size = sizes.ffn;
  config.max_positions = sizes.positions;
  config.vocab_size = sizes.vocab;
  return config;
}

}  // namespace trireme
