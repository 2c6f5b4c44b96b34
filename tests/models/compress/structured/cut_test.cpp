// Cut models: what did nothing before computes the same without, whatever the units; choice and refusals.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/models/compress/structured/drawn_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

void expect_same_function(const ModelConfig& config, const StructuredCut& cut) {
  const auto model = std::make_shared<DrawnModel>(config);
  const KeptUnits kept = choose_units(config, drawn_importance(config), cut);
  const std::vector<float> as_drawn = logits_of(*model, config);
  silence(*model, kept);
  const std::vector<float> before = logits_of(*model, config);
  const ModelConfig left = cut_config(config, cut, kept);
  EXPECT_NE(left, config);
  const auto weights = cut_weights(model, config, cut, kept);
  const std::vector<float> after = logits_of(*weights, left);
  EXPECT_GT(relative_difference(as_drawn, before), 1e-2);
  EXPECT_LT(relative_difference(after, before), 1e-5);
}

ModelConfig of_family(ModelFamily family) {
  ModelConfig c = tiny_model(family);
  c.num_layers = 6;
  c.num_heads = 6;
  c.given_head_dim = family == ModelFamily::gpt2 || family == ModelFamily::neox ? 0 : 6;
  c.num_kv_heads = family == ModelFamily::gpt2 || family == ModelFamily::neox ? 6 : 3;
  return c;
}

ModelConfig mixture() {
  ModelConfig c = of_family(ModelFamily::llama);
  c.moe = {.num_experts = 8,
           .experts_per_token = 2,
           .expert_ffn_size = 12,
           .shared_ffn_size = 10,
           .first_block = 1,
           .score = RouterScore::sigmoid,
           .num_groups = 2,
           .groups_per_token = 2,
           .bias_rate = 0.01};
  return c;
}

TEST(StructuredCut, OfUnitsThatDoNothingKeepsTheFunction) {
  const std::vector<StructuredCut> of_dense{{.layers = 4, .neurons = 39}, {.layers = 2, .neurons = 1}};
  for (const ModelFamily family :
       {ModelFamily::gpt2, ModelFamily::llama, ModelFamily::qwen3, ModelFamily::qwen2, ModelFamily::gemma3,
        ModelFamily::smollm3, ModelFamily::neox}) {
    SCOPED_TRACE(static_cast<int>(family));
    for (const StructuredCut& cut : of_dense) expect_same_function(of_family(family), cut);
  }
  for (const ModelFamily family : {ModelFamily::llama, ModelFamily::qwen3, ModelFamily::qwen2}) {
    SCOPED_TRACE(static_cast<int>(family));
    for (const StructuredCut& cut : {StructuredCut{.kv_groups = 2}, StructuredCut{.heads = 3},
                                     StructuredCut{.layers = 3, .kv_groups = 1, .heads = 1, .neurons = 9}})
      expect_same_function(of_family(family), cut);
  }
  ModelConfig each_its_own = of_family(ModelFamily::llama);
  each_its_own.num_kv_heads = 6;
  expect_same_function(each_its_own, {.heads = 4});
}

TEST(StructuredCut, OfExpertsThatNobodyChoosesKeepsTheFunction) {
  for (const StructuredCut& cut :
       {StructuredCut{.experts = 4}, StructuredCut{.neurons = 5}, StructuredCut{.shared_neurons = 3},
        StructuredCut{.layers = 4, .kv_groups = 2, .neurons = 7, .shared_neurons = 1, .experts = 2}})
    expect_same_function(mixture(), cut);
  ModelConfig as_wide = mixture();  // dense layers and experts have one number
  as_wide.moe.expert_ffn_size = 0;
  expect_same_function(as_wide, {.neurons = 11, .experts = 6});
}

TEST(StructuredCut, OfSharedWeightsIsOneForAllWhoUseThem) {
  ModelConfig config = of_family(ModelFamily::llama);
  config.share = 2;
  expect_same_function(config, {.kv_groups = 2, .neurons = 13});
  config.share = 0;
  config.weights_from = {0, 0, 2, 2, 0, 5};
  expect_same_function(config, {.kv_groups = 2, .neurons = 13});
  config.moe = mixture().moe;
  config.moe.first_block = 0;
  const StructuredCut cut{.experts = 4};
  const auto model = std::make_shared<DrawnModel>(config);
  const KeptUnits kept = choose_units(config, drawn_importance(config), cut);
  const auto weights = cut_weights(model, config, cut, kept);
  EXPECT_TRUE(weights->kinds().contains("layers.5.ffn.router.bias"));
  EXPECT_EQ(weights->kinds().at("layers.2.ffn.router.weight").shape, (Shape{4, config.hidden_size}));
  logits_of(*weights, cut_config(config, cut, kept));
}

// Any block of a cut tensor is that part of the whole.
TEST(StructuredCut, WeightsAreReadInParts) {
  const ModelConfig config = mixture();
  const StructuredCut cut{.layers = 4, .heads = 3, .neurons = 5, .experts = 4};
  const auto model = std::make_shared<DrawnModel>(config);
  const KeptUnits kept = choose_units(config, drawn_importance(config), cut);
  const auto weights = cut_weights(model, config, cut, kept);
  for (const auto& [name, kind] : weights->kinds()) {
    SCOPED_TRACE(name);
    Parameter p = Parameter::whole(name, kind.shape, 0, 0);
    std::vector<float> whole(static_cast<size_t>(kind.shape.numel()));
    weights->read(name, p, whole);
    const int64_t height = kind.shape[0], width = kind.shape.rank() == 2 ? kind.shape[1] : 1;
    const int64_t row = height / 3, rows = height - row - height / 4, column = width / 4,
                  columns = (width + 1) / 2;
    p.offset = kind.shape.rank() == 2 ? Shape{row, column} : Shape{row};
    p.shape = kind.shape.rank() == 2 ? Shape{rows, columns} : Shape{rows};
    std::vector<float> part(static_cast<size_t>(p.shape.numel()));
    weights->read(name, p, part);
    for (int64_t i = 0; i < std::ssize(part); ++i) {
      const int64_t from = (row + i / columns) * width + (kind.shape.rank() == 2 ? column : 0) + i % columns;
      ASSERT_EQ(part[static_cast<size_t>(i)], whole[static_cast<size_t>(from)]) << i;
    }
  }
}

TEST(StructuredCut, OfNothingIsTheModel) {
  const ModelConfig config = mixture();
  const KeptUnits kept = choose_units(config, {6, LayerImportance()}, {});
  EXPECT_EQ(cut_config(config, {}, kept), config);
  const auto model = std::make_shared<DrawnModel>(config);
  EXPECT_EQ(logits_of(*cut_weights(model, config, {}, kept), config), logits_of(*model, config));
}

TEST(ChooseUnits, TakesTheBestAndOfEqualOnesTheFirst) {
  ModelConfig config = of_family(ModelFamily::llama);
  UnitImportance importance(6);
  const std::vector<double> layers{0, 3, 5, 5, 5, 0};
  for (size_t i = 0; i < 6; ++i) {
    importance[i].layer = layers[i];
    importance[i].heads = {1, 4, 2, 2, 5, 0};  // of groups 5, 4, 5
    importance[i].neurons = {std::vector<double>(40, 1)};
    importance[i].neurons[0][33] = 2;
  }
  const KeptUnits kept =
      choose_units(config, importance, {.layers = 4, .kv_groups = 2, .heads = 2, .neurons = 3});
  ASSERT_EQ(kept.size(), 4U);
  EXPECT_EQ(kept[0].layer, 0);
  EXPECT_EQ(kept[1].layer, 2);
  EXPECT_EQ(kept[2].layer, 3);
  EXPECT_EQ(kept[3].layer, 5);
  EXPECT_EQ(kept[0].kv_heads, (Units{0, 2}));
  EXPECT_EQ(kept[0].heads, (Units{1, 4}));
  EXPECT_EQ(kept[0].neurons, (std::vector<Units>{{0, 1, 33}}));
  EXPECT_EQ(choose_units(config, importance, {.layers = 1}).front().layer, 0);
  importance[3].neurons[0][2] = NAN;
  expect_error(ExitCode::numerics, {"layer 3", "neuron 2"},
               [&] { choose_units(config, importance, {.neurons = 3}); });
}

TEST(ChooseUnits, TakesAsManyOfEachGroupOfExperts) {
  const ModelConfig config = mixture();
  UnitImportance importance = drawn_importance(config);
  importance[2].experts = {9, 8, 7, 6, 1, 3, 2, 4};
  const KeptUnits kept = choose_units(config, importance, {.experts = 4});
  EXPECT_EQ(kept[2].experts, (Units{0, 1, 5, 7}));
  EXPECT_TRUE(kept[0].experts.empty());
  EXPECT_EQ(kept[2].neurons.size(), 4U);
}

// Every third layer has no window: the best of those that leave it so.
TEST(ChooseUnits, KeepsWindowsWhereTheyAre) {
  ModelConfig config = of_family(ModelFamily::gemma3);
  config.window_pattern = 3;
  config.num_layers = 9;
  UnitImportance importance(9);
  for (size_t i = 0; i < 9; ++i) importance[i].layer = std::vector<double>{0, 1, 9, 1, 2, 0, 5, 5, 0}[i];
  const auto layers = [&](const StructuredCut& cut) {
    const KeptUnits kept = choose_units(config, importance, cut);
    EXPECT_EQ(cut_config(config, cut, kept).window_pattern, 3);
    Units all;
    for (const KeptLayer& of : kept) all.push_back(of.layer);
    return all;
  };
  EXPECT_EQ(layers({.layers = 6}), (Units{0, 1, 2, 6, 7, 8}));
  EXPECT_EQ(layers({.layers = 8}), (Units{0, 1, 2, 3, 4, 5, 6, 7}));  // the last has none
}

KeptUnits all_but(const ModelConfig& config, const Units& gone) {
  const KeptUnits all = choose_units(config, UnitImportance(static_cast<size_t>(config.num_layers)), {});
  KeptUnits kept;
  for (const KeptLayer& layer : all) {
    if (!has(gone, layer.layer)) kept.push_back(layer);
  }
  return kept;
}

TEST(CutConfig, PatternsThatHoldOtherwiseAreWrittenSo) {
  ModelConfig config = of_family(ModelFamily::gemma3);
  config.num_layers = 9;
  config.window_pattern = 3;
  EXPECT_EQ(cut_config(config, {.layers = 6}, all_but(config, {0, 3, 6})).window_pattern, 2);
  EXPECT_EQ(cut_config(config, {.layers = 3}, all_but(config, {0, 1, 3, 4, 6, 7})).window, 0);
  expect_error(ExitCode::usage, {"0, 1, 2, 3, 5, 6, 7, 8", "0, 1, 3, 6, 7", "window-pattern"},
               [&] { cut_config(config, {.layers = 8}, all_but(config, {4})); });
  config = mixture();
  const ModelConfig left = cut_config(config, {.layers = 5}, all_but(config, {0}));
  EXPECT_EQ(left.moe.first_block, 0);
  expect_error(ExitCode::usage, {"those with experts would be none", "moe.from"}, [&] {
    cut_config(config, {.layers = 1}, all_but(config, {1, 2, 3, 4, 5}));
  });
  config = of_family(ModelFamily::smollm3);
  expect_error(ExitCode::usage, {"those without RoPE would be 3", "no-rotary-every"}, [&] {
    cut_config(config, {.layers = 4}, all_but(config, {0, 1}));
  });
}

TEST(CutConfig, RefusesNumbersThatDoNotFit) {
  const auto refuses = [](const ModelConfig& config, const StructuredCut& cut,
                          std::initializer_list<std::string_view> parts) {
    expect_error(ExitCode::usage, parts, [&] { choose_units(config, drawn_importance(config), cut); });
  };
  const ModelConfig dense = of_family(ModelFamily::llama), experts = mixture();
  refuses(dense, {.layers = 7}, {"layers 7", "has 6"});
  refuses(dense, {.layers = -1}, {"layers -1"});
  refuses(dense, {.neurons = 41}, {"neurons 41", "has 40"});
  refuses(dense, {.experts = 2}, {"experts 2", "none"});
  refuses(dense, {.shared_neurons = 2}, {"shared-neurons 2", "none"});
  refuses(dense, {.heads = 4}, {"heads 4", "3 key-value heads", "3 or 6"});
  refuses(dense, {.kv_groups = 2, .heads = 6}, {"heads 6", "nearest are heads 4"});
  refuses(experts, {.experts = 5}, {"experts 5", "2 groups", "4 or 6"});
  refuses(experts, {.shared_neurons = 11}, {"shared-neurons 11", "has 10"});
  ModelConfig top_3 = mixture();
  top_3.moe.experts_per_token = 3;
  refuses(top_3, {.experts = 2}, {"experts 2", "at least 4"});
  ModelConfig own = dense;
  own.num_kv_heads = 6;
  refuses(own, {.kv_groups = 3, .heads = 4}, {"heads 4 and kv-groups 3"});
}

TEST(CutConfig, RefusesWhatTransformersHasNot) {
  const auto cut = [](const ModelConfig& config, const StructuredCut& c) {
    return cut_config(config, c, choose_units(config, drawn_importance(config), c));
  };
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::neox}) {
    expect_error(ExitCode::usage, {"no model of transformers", "layers, neurons", "head-dim"},
                 [&] { cut(of_family(family), {.heads = 4}); });
  }
  ModelConfig normed = tiny_model(ModelFamily::olmo2);
  expect_error(ExitCode::usage, {"kv-groups", "over all heads together"},
               [&] { cut(normed, {.kv_groups = 1}); });
  // Phi-3 has no head size of its own; Mistral computes what is left.
  ModelConfig phi = tiny_model(ModelFamily::phi3);
  EXPECT_EQ(cut(phi, {.heads = 2}).given_head_dim, phi.head_dim());
  ModelConfig shared = of_family(ModelFamily::llama);
  shared.share = 2;
  expect_error(ExitCode::usage, {"layers 4", "model.share 2"}, [&] { cut(shared, {.layers = 4}); });
  ModelConfig quantized = of_family(ModelFamily::llama);
  quantized.quantization.weights = {ops::PackedFormat::int8, 0};
  expect_error(ExitCode::usage, {"qat"}, [&] { cut(quantized, {.neurons = 4}); });
}

TEST(CutConfig, RefusesUnitsThatAreNotThere) {
  const ModelConfig config = of_family(ModelFamily::llama);
  const StructuredCut cut{.layers = 5, .kv_groups = 2, .neurons = 8};
  const KeptUnits good = choose_units(config, drawn_importance(config), cut);
  const auto refuses = [&](std::initializer_list<std::string_view> parts, const auto& spoil) {
    KeptUnits kept = good;
    spoil(kept);
    expect_error(ExitCode::usage, parts, [&] { cut_config(config, cut, kept); });
  };
  refuses({"4 layers stay", "5"}, [](KeptUnits& kept) { kept.pop_back(); });
  refuses({"layers", "rising"}, [](KeptUnits& kept) { kept[1].layer = 0; });
  refuses({"neurons", "below 40"}, [](KeptUnits& kept) { kept[1].neurons[0].back() = 40; });
  refuses({"head", "does not read"}, [](KeptUnits& kept) {
    kept[1].kv_heads = {0, 1};
    kept[1].heads = {0, 1, 2, 5};
  });
  refuses({"experts"}, [](KeptUnits& kept) { kept[1].experts = {0}; });
}

TEST(CutWeights, RefusesFilesOfAnotherModel) {
  ModelConfig config = of_family(ModelFamily::llama);
  const auto model = std::make_shared<DrawnModel>(config);
  config.ffn_size = 44;
  const StructuredCut cut{.neurons = 8};
  const KeptUnits kept = choose_units(config, drawn_importance(config), cut);
  expect_error(ExitCode::bad_input, {"layers.0.ffn.gate.weight"},
               [&] { cut_weights(model, config, cut, kept); });
}

}  // namespace
}  // namespace trireme::test
