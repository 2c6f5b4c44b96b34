// Scales that are folded into a model leave its function as it was, in every family.
#include <gtest/gtest.h>

#include "models/compress/folds.h"
#include "models/compress/held_weights.h"
#include "models/families/family.h"
#include "tests/models/compress/quantized_model.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

std::vector<NamedModel> folded_models() {
  std::vector<NamedModel> models;
#define TRIREME_TESTED_FAMILY(name) models.push_back({#name, tiny_model(ModelFamily::name)});
  TRIREME_FAMILIES(TRIREME_TESTED_FAMILY)
#undef TRIREME_TESTED_FAMILY
  for (const NamedModel& model : inference_models(16))
    models.push_back({"of_inference_" + model.name, model.config});
  for (const NamedModel& model : edge_models(16)) models.push_back(model);
  return models;
}

class Folds : public testing::TestWithParam<NamedModel> {};

std::vector<float> some_scales(int64_t count, uint64_t seed) {
  std::vector<float> scales;
  for (int64_t i = 0; i < count; ++i)
    scales.push_back(0.5f +
                     static_cast<float>(philox4x32(seed, static_cast<uint64_t>(i), 1)[0] % 1000) / 500.0f);
  return scales;
}

TEST_P(Folds, LeaveTheFunctionAsItWas) {
  const ModelConfig& config = GetParam().config;
  const InitialWeights weights(config);
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    const auto source = weights.open();
    InferenceModel model(ctx, world, *source, config, {.plan = {.data = 1, .tensor = 2}});
    const auto samples = some_samples(config, 2, 12);
    const auto before = logits_of_samples(ctx, model.model(), samples);
    FoldedWeights folded(*source);
    HeldWeights held(ctx, model, folded, ops::Activations::exact);
    const ModelSpec& spec = model.model().spec();
    size_t num_places = 0;
    for (int64_t block = 0; block < spec.num_blocks(); ++block) {
      if (spec.weights_of(block) != block) continue;
      for (const FoldPlace& place : fold_places(spec, block)) {
        const int64_t inputs = held.held(place.readers.front()).global_shape[1];
        fold(place, shared_scales(place, some_scales(inputs, ++num_places)), folded);
        for (const auto* names : {&place.readers, &place.routers, &place.divided}) {
          for (const std::string& name : *names) {
            EXPECT_TRUE(folded.is_folded(name));
            held.refresh(name);
          }
        }
      }
    }
    EXPECT_GT(num_places, 0u);
    const auto after = logits_of_samples(ctx, model.model(), samples);
    EXPECT_LT(relative_difference(after, before), 1e-5);
    EXPECT_NE(after, before);
  });
}

// The model before any rounding, and the scales of all places of the methods.
TEST_P(Folds, OfMethodsAreFoundInAnyLayout) {
  const ModelConfig& config = GetParam().config;
  const InitialWeights weights(config);
  for (const InputScaling scaling : {InputScaling::awq, InputScaling::smooth_quant}) {
    QuantizeModelOptions options;
    options.plan = plan_of_all({.spec = {ops::PackedFormat::int8, 0}});
    options.plan.scaling = scaling;
    options.samples = some_samples(config, 4, 12);
    const QuantizedRun one = quantize_in({.data = 1}, weights, options);
    EXPECT_LT(relative_difference(one.logits, one.logits_before), 0.1);
    const QuantizedRun two = quantize_in({.data = 1, .tensor = 2}, weights, options);
    EXPECT_LT(relative_difference(two.logits, one.logits), 0.02);
    ASSERT_EQ(two.outcomes.size(), one.outcomes.size());
    int64_t num_scaled = 0;
    for (size_t i = 0; i < one.outcomes.size(); ++i) {
      EXPECT_EQ(two.outcomes[i].name, one.outcomes[i].name);
      EXPECT_EQ(two.outcomes[i].what, one.outcomes[i].what);
      num_scaled += one.outcomes[i].what.starts_with("input scales");
    }
    EXPECT_GT(num_scaled, 0);
    for (const auto& [name, values] : one.kept.tensors)
      EXPECT_LT(relative_difference(two.kept.tensors.at(name), values), 1e-3) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Folds, testing::ValuesIn(folded_models()),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace trireme::test
