// OLMo 2 (arXiv 2501.00656): norms behind the parts alone, QK norm over the whole projections.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_olmo2(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.norm_placement = NormPlacement::after;
  config.qk_norm = QkNormKind::projection;
  config.norm_eps = 1e-6;
  config.rotary_theta = 500000;
}

std::vector<Preset> presets_of_olmo2() {
  return {
      {sized_model("olmo2-10m", ModelFamily::olmo2, {6, 384, 6, 6, 1024, 256, 0}),
       "11M without embeddings: minutes on two cores"},
      {sized_model("olmo2-7b", ModelFamily::olmo2, {32, 4096, 32, 32, 11008, 4096, 100352}),
       "OLMo 2 7B (arXiv 2501.00656)"},
  };
}

}  // namespace

Family olmo2_family() {
  return {.family = ModelFamily::olmo2,
          .name = "olmo2",
          .description = "as llama, with post-RMSNorm alone and QK norm over all heads together",
          .apply = apply_olmo2,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_olmo2};
}

}  // namespace trireme
