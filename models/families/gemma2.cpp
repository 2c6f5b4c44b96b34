// Gemma 2 (arXiv 2408.00118). Its gains are held whole; published files hold them less 1.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_gemma2(ModelConfig& config) {
  family_of(ModelFamily::gemma).apply(config);
  config.norm_placement = NormPlacement::both;
  config.query_scalar = 256;
  config.attention_soft_cap = 50;
  config.logit_soft_cap = 30;
  config.window = 4096;
  config.window_pattern = 2;
}

ModelConfig sized_gemma2(std::string_view name, const ModelSizes& sizes, int64_t head_dim, int64_t window) {
  ModelConfig config = sized_model(name, ModelFamily::gemma2, sizes);
  config.given_head_dim = head_dim;
  config.query_scalar = static_cast<double>(head_dim);
  config.window = window;
  return config;
}

std::vector<Preset> presets_of_gemma2() {
  return {
      {sized_gemma2("gemma2-10m", {6, 320, 4, 2, 1280, 256, 0}, 96, 64),
       "10M without embeddings, window 64: minutes on two cores"},
      {sized_gemma2("gemma2-2b", {26, 2304, 8, 4, 9216, 8192, 256000}, 256, 4096),
       "Gemma 2 2B (arXiv 2408.00118)"},
  };
}

}  // namespace

Family gemma2_family() {
  return {
      .family = ModelFamily::gemma2,
      .name = "gemma2",
      .description =
          "pre- and post-RMSNorm, GeGLU, logit soft-capping, a sliding window of 4096 in every other block, "
          "scaled tied embedding",
      .apply = apply_gemma2,
      .ffn_size = plain_ffn_size,
      .presets = presets_of_gemma2};
}

}  // namespace trireme
