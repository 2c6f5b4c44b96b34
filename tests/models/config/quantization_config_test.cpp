// Which matrices are quantized, and what is refused with which words.
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/config/validate.h"
#include "models/families/family.h"
#include "models/spec/describe.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig model_with(const QuantizationConfig& quantization) {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.vocab_size = 100;
  c.num_layers = 2;
  c.hidden_size = 128;
  c.num_heads = c.num_kv_heads = 4;
  c.ffn_size = 192;
  c.quantization = quantization;
  return c;
}

TEST(QuantizationConfig, SaysWhichMatricesAreQuantized) {
  QuantizationConfig q{.weights = {PackedFormat::int4, 32}};
  for (const char* name : {"layers.0.attention.query.weight", "layers.11.ffn.experts.3.down.weight"})
    EXPECT_EQ(q.spec_of(name), q.weights) << name;
  for (const char* name :
       {"embedding.tokens.weight", "head.weight", "embedding.positions.weight", "layers.0.ffn.router.weight",
        "layers.0.ffn_norm.gain", "layers.0.ffn.up.bias", "layers.0.ffn.up.weight_scale"})
    EXPECT_FALSE(q.spec_of(name)) << name;
  q.embedding = true;
  EXPECT_TRUE(q.spec_of("embedding.tokens.weight") && !q.spec_of("head.weight"));
  EXPECT_FALSE(QuantizationConfig{}.spec_of("layers.0.attention.query.weight"));
}

TEST(QuantizationConfig, MatricesOfOneProductAreSkippedTogether) {
  const QuantizationConfig q{
      .weights = {PackedFormat::int4, 32},
      .skip = {"*.key.weight", "layers.1.ffn.gate.*", "layers.2.*.experts.*.down.weight"}};
  for (const char* name : {"layers.0.attention.query.weight", "layers.0.attention.value.weight",
                           "layers.1.ffn.up.weight", "layers.2.ffn.experts.17.down.weight"})
    EXPECT_FALSE(q.spec_of(name)) << name;
  for (const char* name : {"layers.0.attention.output.weight", "layers.1.ffn.down.weight",
                           "layers.2.ffn.experts.17.up.weight", "layers.11.ffn.up.weight"})
    EXPECT_TRUE(q.spec_of(name)) << name;
}

TEST(QuantizationConfig, GroupsThatAreCutAreRefused) {
  QuantizationConfig q{.weights = {PackedFormat::int4, 128}};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0),
              ElementsAre(AllOf(HasSubstr("qat.group 128"), HasSubstr("ffn.down.weight has 192 inputs"),
                                HasSubstr("--qat.group 0, 32, 64"), HasSubstr("--qat.skip"))));
  q.skip = {"*.down.weight"};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), IsEmpty());
  q = {.weights = {PackedFormat::int8, 64}};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), IsEmpty());
  EXPECT_THAT(quantization_errors(model_with(q), 2, 0),
              ElementsAre(AllOf(HasSubstr("2 tensor-parallel ranks"), HasSubstr("--qat.group 32"))));
  q.weights.group = 0;
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), IsEmpty());
  EXPECT_THAT(quantization_errors(model_with(q), 2, 0),
              ElementsAre(HasSubstr("attention.output.weight"), HasSubstr("ffn.down.weight")));
  EXPECT_THAT(validate(model_with(q), {.data = 1, .tensor = 2}, {}), testing::SizeIs(2));
}

TEST(QuantizationConfig, OtherMistakesAreRefused) {
  QuantizationConfig q{.weights = {PackedFormat::int4, 32, false}, .learned_scales = true};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), ElementsAre(HasSubstr("--qat.asymmetric off")));
  q = {.weights = {PackedFormat::int4, 32}, .skip = {"layers.2.*"}};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), ElementsAre(HasSubstr("layers.2.*")));
  q.skip = {"*"};
  EXPECT_THAT(quantization_errors(model_with(q), 1, 0), ElementsAre(HasSubstr("no matrix")));
  q = {.weights = {PackedFormat::int4, 32}, .embedding = true};
  ModelConfig tied = model_with(q);
  tied.tied_embeddings = true;
  EXPECT_THAT(quantization_errors(tied, 1, 0), ElementsAre(HasSubstr("qat.head")));
}

// Rank by rank as their matrices are.
TEST(QuantizationConfig, LearnedScalesAreParametersBesideTheirMatrices) {
  const ModelSpec spec = spec_of(
      model_with({.weights = {PackedFormat::int4, 32}, .learned_scales = true, .skip = {"*.up.weight"}}));
  std::map<std::string, Parameter> all;
  for (const auto& layer : parameters_by_layer(spec)) {
    for (const Parameter& p : layer) all[p.name] = p;
  }
  EXPECT_FALSE(all.contains("layers.0.ffn.gate.weight_scale"));
  EXPECT_FALSE(all.contains("embedding.tokens.weight_scale"));
  const Parameter& scale = all.at("layers.1.ffn.down.weight_scale");
  EXPECT_EQ(scale.global_shape, (Shape{128, 6, 1}));
  EXPECT_TRUE(scale.is_scale);
  RankShare share;
  share.tensor = {1, 2};
  const BlockParameters block = ParameterDescription(spec, share).block(1);
  const Parameter& down = block.feed_forward->down.scales.members.front();
  EXPECT_EQ(down.offset, (Shape{0, 3, 0}));
  EXPECT_EQ(down.shape, (Shape{128, 3, 1}));
  EXPECT_EQ(block.attention.qkv.scales.shape(), (Shape{3 * 64, 4, 1}));
  EXPECT_EQ(block.attention.qkv.scales.members.back().offset, (Shape{64, 0, 0}));
}

}  // namespace
}  // namespace trireme::test
