// The description of a model: its products are its matrices, and ranks hold each parameter whole together.
#include "models/spec/describe.h"

#include <map>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/families/presets.h"

namespace trireme {
namespace {

TEST(Describe, ProductsAreTheMatricesThatATokenPasses) {
  for (const Preset& preset : presets()) {
    const ModelSpec spec = spec_of(preset.config);
    const std::vector<LayerDescription> layers = describe(spec, {}, true);  // a tied head with its matrix
    for (size_t i = 1; i < layers.size(); ++i) {
      int64_t weights = 0;
      for (const ParameterBlock& block : layers[i].blocks) {
        if (block.shape().rank() < 2) continue;  // taps of convolutions have three dims
        const int64_t numel = block.shape().numel();
        if (!block.is_of_experts()) {
          weights += numel;
          continue;
        }
        const MoeConfig& routing = spec.blocks[i - 1].mixture->routing;
        weights += numel / routing.num_experts * routing.experts_per_token;
      }
      if (layers[i].blocks.empty()) continue;  // it uses another's
      EXPECT_EQ(layers[i].products.weights(), weights) << preset.config.name << " layer " << i;
    }
  }
}

// Elements of each parameter over all tensor ranks, copies counted once.
TEST(Describe, TensorRanksHoldEachElementOnce) {
  for (const char* name :
       {"gpt2-tiny", "llama-tiny", "qwen3-10m", "gemma2-10m", "mistral-10m", "deepseek-tiny"}) {
    ModelConfig config = find_preset(name)->config;
    config.vocab_size = 37;
    if (config.family == ModelFamily::qwen3) config.qk_norm = QkNormKind::projection;
    const ModelSpec spec = spec_of(config);
    std::map<std::string, int64_t> held, whole;
    constexpr int kRanks = 4;
    for (int rank = 0; rank < kRanks; ++rank) {
      RankShare share;
      share.tensor = share.expert_tensor = {rank, kRanks};
      for (const LayerDescription& layer : describe(spec, share)) {
        for (const ParameterBlock& block : layer.blocks) {
          for (const Parameter& p : block.members) {
            whole[p.name] = p.global_shape.numel();
            held[p.name] += rank % p.num_copies == 0 ? p.shape.numel() : 0;
          }
        }
      }
    }
    EXPECT_EQ(held, whole) << name;
  }
}

// Four ranks have each its query heads, and of two key heads one, which another holds too.
TEST(Describe, QkNormsOverProjectionsAreShardedAsTheirHeads) {
  ModelConfig config;
  apply_family(config, ModelFamily::olmo2);
  config.vocab_size = 37;
  config.hidden_size = 32;
  config.num_heads = 8;
  config.num_kv_heads = 2;
  config.given_head_dim = 6;
  const ModelSpec spec = spec_of(config);
  for (int rank = 0; rank < 4; ++rank) {
    RankShare share;
    share.tensor = {rank, 4};
    const BlockParameters block = ParameterDescription(spec, share).block(0);
    EXPECT_FALSE(block.attention_norm.gain || block.ffn_norm.gain);
    EXPECT_EQ(block.attention_post_norm.gain.members[0].name, "layers.0.attention_post_norm.gain");
    EXPECT_EQ(block.ffn_post_norm.gain.members[0].name, "layers.0.ffn_post_norm.gain");
    const Parameter& query = block.attention.query_norm.gain.members[0];
    const Parameter& key = block.attention.key_norm.gain.members[0];
    EXPECT_EQ(query.name, "layers.0.attention.query_norm.gain");
    EXPECT_EQ(key.name, "layers.0.attention.key_norm.gain");
    EXPECT_EQ(query.global_shape, (Shape{48}));
    EXPECT_EQ(query.offset, (Shape{rank * 12}));
    EXPECT_EQ(query.shape, (Shape{12}));
    EXPECT_FALSE(query.is_gradient_partial) << "a rank sees all rows of its heads";
    EXPECT_EQ(key.global_shape, (Shape{12}));
    EXPECT_EQ(key.offset, (Shape{rank / 2 * 6}));
    EXPECT_EQ(key.num_copies, 2);
    EXPECT_TRUE(key.is_gradient_partial) << "of the queries of the rank";
    EXPECT_EQ(query.init_mean, 1.0f);
  }
}

TEST(Describe, AttentionUnderAWindowCountsTheKeysThatAreSeen) {
  LayerProducts products;
  products.query_width = 8;
  EXPECT_DOUBLE_EQ(products.flops_of_attention(16), 4.0 * 8 * 8);
  products.window = 4;
  EXPECT_DOUBLE_EQ(products.flops_of_attention(16), 4.0 * 3.5 * 8);
  products.window = 16;
  EXPECT_DOUBLE_EQ(products.flops_of_attention(16), 4.0 * 8 * 8);
}

}  // namespace
}  // namespace trireme
