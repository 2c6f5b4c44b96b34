// The description of a model: its products are its matrices, and ranks hold each parameter whole together.
#include "models/spec/describe.h"

#include <map>

#include <gtest/gtest.h>

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
        if (!block.is_matrix()) continue;
        const int64_t numel = block.shape().numel();
        if (!block.is_of_experts()) {
          weights += numel;
          continue;
        }
        const MoeConfig& routing = spec.blocks[i - 1].mixture->routing;
        weights += numel / routing.num_experts * routing.experts_per_token;
      }
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
