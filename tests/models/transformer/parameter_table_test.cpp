// The table that is computed from a config names exactly what the model holds.
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "models/cost/model_size.h"
#include "models/families/family.h"
#include "models/transformer/transformer.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {
namespace {

ModelConfig small(ModelFamily family) {
  ModelConfig config;
  apply_family(config, family);
  config.vocab_size = 11;
  config.num_layers = 2;
  config.hidden_size = 24;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.ffn_size = 20;
  config.max_positions = 8;
  return config;
}

void expect_equal_to_the_model(const ModelConfig& config) {
  Context ctx;
  const auto self = make_self_communicator();
  const ParallelContext one_rank(*self, {.data = 1});
  Transformer model(ctx, one_rank, config, {.max_seq_len = 8, .compute_type = DType::f32});
  std::map<std::string, std::string> computed, held;
  for (const ParameterInfo& row : parameter_table(config)) computed[row.name] = to_string(row.shape);
  for (const ParameterView& view : model.storage().parameters()) {
    held[view.parameter->name] = to_string(view.master.shape());
  }
  EXPECT_EQ(computed, held);
}

TEST(ParameterTable, IsTheModels) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const bool bias : {false, true}) {
      for (const bool tied : {false, true}) {
        ModelConfig config = small(family);
        config.bias = bias ? BiasKind::all : BiasKind::none;
        config.tied_embeddings = tied;
        expect_equal_to_the_model(config);
      }
    }
  }
}

TEST(ParameterTable, IsTheMixtures) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    ModelConfig config = small(family);
    config.num_layers = 4;
    config.moe = {.num_experts = 3, .shared_ffn_size = 7, .first_block = 1, .every = 2};
    expect_equal_to_the_model(config);
    config.moe = {.num_experts = 4, .expert_ffn_size = 5};
    expect_equal_to_the_model(config);
  }
}

TEST(ParameterTable, IsTheSharedLayers) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    ModelConfig config = small(family);
    config.moe = {.num_experts = 3, .every = 2};
    const ModelSize two = size_of(config);
    config.num_layers = 7;
    const double flops = forward_flops_per_token(config, 8);
    config.share = 2;
    expect_equal_to_the_model(config);
    EXPECT_EQ(size_of(config).parameters, two.parameters);
    EXPECT_EQ(size_of(config).active, two.active);
    EXPECT_EQ(forward_flops_per_token(config, 8), flops) << "layers are computed however they share";
  }
}

}  // namespace
}  // namespace trireme
