#include "models/config/model_config.h"

#include <limits>

#include <gmock/gmock.h>

#include "models/config/weight_sharing.h"
#include "models/families/family.h"
#include "models/families/presets.h"
#include "models/spec/model_spec.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ModelConfig, PresetsHaveNoFaultsAndTheirOwnNames) {
  for (const Preset& preset : presets()) {
    EXPECT_THAT(errors_of(preset.config), testing::IsEmpty()) << preset.config.name;
    EXPECT_EQ(find_preset(preset.config.name), &preset);
  }
  EXPECT_EQ(find_preset("gpt2-124"), nullptr);
}

TEST(ModelConfig, FamiliesSetTheKinds) {
  ModelConfig config;
  apply_family(config, ModelFamily::llama);
  EXPECT_EQ(config.norm, NormKind::rms_norm);
  EXPECT_EQ(config.positions, PositionKind::rotary);
  EXPECT_TRUE(config.bias == BiasKind::none && !config.tied_embeddings);
  EXPECT_EQ(default_ffn_size(config), 2048);  // 8/3 * 768
  config.hidden_size = 4096;
  EXPECT_EQ(default_ffn_size(config), 11008);  // Llama 1 and 2, 7B
  apply_family(config, ModelFamily::gpt2);
  EXPECT_EQ(config.activation, ActivationKind::gelu);
  EXPECT_TRUE(config.bias == BiasKind::all && config.tied_embeddings);
  EXPECT_EQ(default_ffn_size(config), 4 * 4096);
}

TEST(MoeConfig, FaultsNameTheNearestAndRoomIsRoundedUp) {
  MoeConfig moe{.num_experts = 8, .experts_per_token = 9};
  EXPECT_THAT(errors_of(moe, 4), ElementsAre(AllOf(HasSubstr("moe.top-k 9"), HasSubstr("at most 8"))));
  moe = {.num_experts = 8, .num_groups = 3};
  EXPECT_THAT(errors_of(moe, 4), ElementsAre(HasSubstr("nearest are 2 or 4")));
  moe = {.num_experts = 8, .experts_per_token = 3, .num_groups = 4, .groups_per_token = 1};
  EXPECT_THAT(errors_of(moe, 4), ElementsAre(HasSubstr("at most 2")));
  moe = {.num_experts = 8, .experts_per_token = 1};
  EXPECT_THAT(errors_of(moe, 4), ElementsAre(HasSubstr("--moe.normalize off")));
  moe = {.num_experts = 8, .first_block = 4};
  EXPECT_THAT(errors_of(moe, 4), ElementsAre(HasSubstr("none would be an MoE block")));
  for (const double jitter : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    moe = {.num_experts = 8, .jitter = jitter};
    EXPECT_THAT(errors_of(moe, 4), ElementsAre(HasSubstr("moe.jitter is")));
  }
  moe = {.num_experts = 8, .capacity = CapacityMode::drop, .capacity_factor = 1.1};
  EXPECT_EQ(moe.capacity_of(10), 3);  // 2.75
  EXPECT_EQ(moe.capacity_of(1), 1);
  moe.capacity_factor = 100;
  EXPECT_EQ(moe.capacity_of(10), 10);
}

TEST(ModelConfig, EveryFaultIsListedWithNumbersAndNeighbours) {
  ModelConfig config;
  config.hidden_size = 100;
  config.num_heads = 12;
  config.num_kv_heads = 5;
  config.num_layers = 0;
  config.norm_eps = 0;
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("model.layers is 0"),
                                             AllOf(HasSubstr("model.hidden 100"), HasSubstr("model.heads 12"),
                                                   HasSubstr("96 or 108"), HasSubstr("10 or 20")),
                                             AllOf(HasSubstr("model.kv-heads 5"), HasSubstr("4 or 6")),
                                             HasSubstr("model.norm-eps is 0")));
}

TEST(ModelConfig, SideBySidePartsHaveNormsBeforeThemAlone) {
  ModelConfig config;
  config.parallel_residual = true;
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
  for (const QkNormKind kind : {QkNormKind::head, QkNormKind::projection}) {
    config.qk_norm = kind;
    EXPECT_THAT(errors_of(config), testing::IsEmpty());
  }
  config.norm_placement = NormPlacement::both;
  EXPECT_THAT(errors_of(config), ElementsAre(AllOf(HasSubstr("model.norm-placement both"),
                                                   HasSubstr("nearest are model.norm-placement pre, or "
                                                             "model.parallel-residual off"))));
  config.norm_placement = NormPlacement::after;
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("model.norm-placement post")));
  config.parallel_residual = false;
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
}

TEST(ModelConfig, OfAPatternOfBlocksTheLastOneHasNoWindow) {
  ModelConfig config;
  config.window = 8;
  EXPECT_EQ(config.window_of(0), 8);
  EXPECT_EQ(config.window_of(5), 8);
  config.window_pattern = 3;
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < 7; ++i) windows.push_back(config.window_of(i));
  EXPECT_EQ(windows, (std::vector<int64_t>{8, 8, 0, 8, 8, 0, 8}));
  EXPECT_TRUE(errors_of(config).empty());
  config.window_pattern = 1;
  EXPECT_EQ(errors_of(config).size(), 1u);
  config.window_pattern = 0;
  config.window = -1;
  EXPECT_EQ(errors_of(config).size(), 1u);
}

TEST(ModelConfig, SharingNeedsFewerGroupsThanLayersAndLayersAlike) {
  ModelConfig config;
  config.num_layers = 12;
  for (const int64_t share : {0, 1, 4, 5, 11}) {
    config.share = share;
    EXPECT_THAT(errors_of(config), testing::IsEmpty()) << share;
  }
  config.share = 12;
  EXPECT_THAT(errors_of(config),
              ElementsAre(HasSubstr("model.share is 12: with model.layers 12 no layers would "
                                    "share weights; use 1 to 11")));
  config.moe = {.num_experts = 4, .every = 3};
  for (const int64_t share : {3, 6, 9}) {
    config.share = share;
    EXPECT_THAT(errors_of(config), testing::IsEmpty()) << share;
  }
  config.share = 4;
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("nearest that work are 3 or 6")));
  config.share = 1;
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("nearest that work are 3")));
  config.moe = {.num_experts = 4, .first_block = 1};
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("--moe.from 0 --moe.every 1")));
}

TEST(ModelConfig, ConvolutionsLookAtAFewTokensOfBlocksThatAreThere) {
  ModelConfig config;
  config.convolution = {.kernel = 4, .every = 3, .first_block = 1};
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
  config.share = 4;
  EXPECT_THAT(errors_of(config), ElementsAre(AllOf(HasSubstr("layers with convolutions"),
                                                   HasSubstr("nearest that work are 3 or 6"))));
  config.share = 0;
  config.convolution = {.kernel = 17, .every = 0, .first_block = 12};
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("looks at 2 to 16 tokens"), HasSubstr("-every is 0"),
                                             HasSubstr("it must be 0 to 11")));
}

TEST(ModelConfig, BlocksAreNarrowInsideAndDense) {
  ModelConfig config;
  config.bottleneck = {.width = 192, .num_feed_forwards = 4};
  EXPECT_EQ(config.head_dim(), 16);
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
  config.bottleneck.width = 190;
  EXPECT_THAT(errors_of(config), ElementsAre(HasSubstr("model.bottleneck 190 does not divide by model.heads "
                                                       "12: nearest are bottleneck 180 or 192")));
  config.bottleneck = {.width = 768, .num_feed_forwards = 0};
  config.moe.num_experts = 4;
  config.norm_placement = NormPlacement::after;
  EXPECT_THAT(errors_of(config),
              ElementsAre(HasSubstr("narrower than model.hidden 768"), HasSubstr("-ffns is 0"),
                          HasSubstr("moe.experts 4"), HasSubstr("--model.norm-placement pre")));
}

TEST(ModelConfig, AnyEarlierLayerCanLendItsWeights) {
  ModelConfig config;
  config.num_layers = 5;
  const auto fault = [&](std::string_view text) {
    EXPECT_EQ(set_sharing_text(config, text), "") << text;
    const std::vector<std::string> errors = errors_of(config);
    return errors.empty() ? std::string() : errors.front();
  };
  EXPECT_EQ(fault("pairs"), "");
  EXPECT_EQ(sharing_of(config), (std::vector<int64_t>{0, 0, 2, 2, 4}));
  EXPECT_EQ(sharing_text(config), "pairs");
  EXPECT_EQ(num_distinct_layers(config), 3);
  EXPECT_EQ(fault("0,1,0,3,1"), "");
  EXPECT_EQ(sharing_text(config), "0,1,0,3,1");
  EXPECT_EQ(spec_of(config).weights_of(4), 1);
  EXPECT_EQ(fault("0,1,2,0,1"), "");  // in turn: the short form
  EXPECT_EQ(config.share, 3);
  EXPECT_TRUE(config.weights_from.empty());
  EXPECT_EQ(fault("0,1,2,3,4"), "");
  EXPECT_FALSE(config.shares_weights());

  EXPECT_THAT(fault("0,0,2"), HasSubstr("names the weights of 3 layers, and model.layers is 5"));
  EXPECT_THAT(fault("0,2,2,2,2"), HasSubstr("layer 1 would use the weights of layer 2"));
  EXPECT_THAT(fault("0,0,1,1,1"), HasSubstr("layer 1, which uses those of layer 0: name that one"));
  config.moe = {.num_experts = 4, .every = 2};
  EXPECT_THAT(fault("pairs"), HasSubstr("layer 1 (dense) would use the weights of layer 0 (MoE)"));
  EXPECT_EQ(fault("0,1,2,1,0"), "");
  for (const char* text : {"", "-1", "two", "0,,2", "0,1,x", "0,1,99999", "0,0,2,2,"})
    EXPECT_NE(set_sharing_text(config, text), "") << text;
  EXPECT_EQ(sharing_text(config), "0,1,2,1,0") << "a text that is none changes nothing";
}

TEST(ModelConfig, NoDivisionByZeroOrNegativeSizes) {
  ModelConfig config;
  config.hidden_size = -1;
  config.num_heads = 0;
  config.num_kv_heads = 0;
  EXPECT_EQ(errors_of(config).size(), 3u);
}

TEST(ModelConfig, MoreHeadsThanNumbers) {
  ModelConfig config;
  config.hidden_size = 8;
  config.num_heads = config.num_kv_heads = 12;
  EXPECT_THAT(errors_of(config),
              ElementsAre(AllOf(HasSubstr("nearest are hidden 12"), HasSubstr("heads 8"))));
}

TEST(ModelConfig, FaultsOfRotaryPositionsNameWhatWorks) {
  ModelConfig usual;
  apply_family(usual, ModelFamily::llama);
  const auto faults = [&](const auto& change) {
    ModelConfig config = usual;
    change(config);
    return errors_of(config);
  };
  using M = ModelConfig;
  EXPECT_THAT(faults([](M& c) { c.rotary_dims = 15; }),
              ElementsAre(AllOf(HasSubstr("rotary-dims is 15"), HasSubstr("14 or 16"))));
  EXPECT_THAT(faults([](M& c) { c.rotary_dims = 66; }),
              ElementsAre(AllOf(HasSubstr("a head has 64"), HasSubstr("nearest is 64"))));
  EXPECT_THAT(faults([](M& c) { c.given_head_dim = 5, c.rotary_dims = 4; }), testing::IsEmpty());
  EXPECT_THAT(faults([](M& c) { c.no_rotary_every = 1; }),
              ElementsAre(HasSubstr("no block would have positions")));
  EXPECT_THAT(faults([](M& c) { c.rotary_scaling_factor = 0.5; }),
              ElementsAre(HasSubstr("must be 1 (none) or more")));
  EXPECT_THAT(faults([](M& c) { c.rotary_high_freq_factor = 1; }), testing::IsEmpty()) << "nothing is scaled";
  EXPECT_THAT(faults([](M& c) { c.rotary_high_freq_factor = 1, c.rotary_scaling_factor = 2; }),
              ElementsAre(HasSubstr("the second above the first")));
  const auto of_kind = [&](RotaryScaling kind, const auto& change) {
    return faults([&](M& c) { c.rotary_scaling = kind, c.rotary_scaling_factor = 8, change(c); });
  };
  EXPECT_THAT(of_kind(RotaryScaling::yarn, [](M& c) { c.rotary_beta_fast = 0.5; }),
              ElementsAre(HasSubstr("model.rotary-beta-fast 0.5 and model.rotary-beta-slow 1")));
  EXPECT_THAT(of_kind(RotaryScaling::yarn, [](M& c) { c.rotary_theta = 1; }),
              ElementsAre(HasSubstr("above 1")));
  EXPECT_THAT(of_kind(RotaryScaling::yarn, [](M& c) { c.rotary_attention_factor = -1; }),
              ElementsAre(HasSubstr("0 for the paper's")));
  EXPECT_THAT(of_kind(RotaryScaling::longrope, [](M&) {}),
              ElementsAre(AllOf(HasSubstr("rotary-short-factors has 0 numbers"), HasSubstr("needs 32")),
                          HasSubstr("rotary-long-factors has 0 numbers")));
  EXPECT_THAT(of_kind(RotaryScaling::longrope,
                      [](M& c) {
                        c.rotary_dims = 4;
                        c.rotary_short_factors = {1, 2};
                        c.rotary_long_factors = {1, 2, 3};
                      }),
              ElementsAre(AllOf(HasSubstr("rotary-long-factors has 3"), HasSubstr("needs 2"))));
  EXPECT_THAT(of_kind(RotaryScaling::linear, [](M&) {}), testing::IsEmpty());
}

TEST(ModelConfig, AWindowBeginsWithinTheModel) {
  ModelConfig config;
  config.window = 8;
  config.window_from = 11;
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
  EXPECT_EQ(config.window_of(10), 0);
  EXPECT_EQ(config.window_of(11), 8);
  config.window_from = 12;
  EXPECT_THAT(errors_of(config), ElementsAre(AllOf(HasSubstr("window-from is 12"), HasSubstr("0 to 11"))));
  config.window = 0;
  EXPECT_THAT(errors_of(config), testing::IsEmpty()) << "it has no effect";
}

TEST(ModelConfig, RotaryPairsNeedAnEvenHead) {
  ModelConfig config;
  apply_family(config, ModelFamily::llama);
  config.hidden_size = 60;
  EXPECT_THAT(errors_of(config), ElementsAre(AllOf(HasSubstr("= head size 5"), HasSubstr("48 or 72"))));
  apply_family(config, ModelFamily::gpt2);
  EXPECT_THAT(errors_of(config), testing::IsEmpty());
}

}  // namespace
}  // namespace trireme
