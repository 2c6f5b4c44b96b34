// Folding: likeness of layers is the same in every layout, sets are the best there are, weights are the
// chosen ones.
#include "models/compress/structured/fold.h"

#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include <gtest/gtest.h>

#include "models/compress/calibration_passes.h"
#include "models/config/weight_sharing.h"
#include "runtime/ops/host_copy.h"
#include "tests/models/compress/structured/drawn_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

using Rows = std::vector<std::vector<double>>;

ModelConfig of_layers(int64_t layers, ModelFamily family = ModelFamily::llama) {
  ModelConfig config = tiny_model(family);
  config.num_layers = layers;
  return config;
}

LayerLikeness likeness_in(const ParallelPlan& plan, const DrawnModel& weights) {
  LayerLikeness likeness;
  std::mutex mutex;
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, weights, weights.config(), {.plan = plan});
    const LayerLikeness own = measure_likeness(ctx, model, some_samples(weights.config(), 3, 12), nullptr);
    const std::lock_guard lock(mutex);
    likeness = own;
  });
  return likeness;
}

void expect_near_rows(const Rows& found, const Rows& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    for (size_t j = 0; j < found.size(); ++j) {
      SCOPED_TRACE(fmt::format("{} {}", i, j));
      EXPECT_EQ(std::isnan(found[i][j]), std::isnan(expected[i][j]));
      if (!std::isnan(expected[i][j])) {
        EXPECT_NEAR(found[i][j], expected[i][j], 1e-5);
      }
    }
  }
}

/// Layer `to` computes what `from` does.
void repeat_layer(DrawnModel& model, int64_t from, int64_t to) {
  const std::string source = block_name(from) + ".", target = block_name(to) + ".";
  for (const auto& [name, kind] : model.kinds()) {
    if (name.starts_with(target)) model.at(name) = model.at(source + name.substr(target.size()));
  }
}

std::vector<float> last_stream(const DrawnModel& weights) {
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, weights, weights.config(), {.plan = {.data = 1}});
  CalibrationPasses passes(ctx, model.parallel(), model.model(), some_samples(weights.config(), 3, 12), {});
  for (int place = 0; place <= weights.config().num_layers; ++place) {
    passes.arrive(ctx, place);
    passes.forward(ctx, place, true);
  }
  std::vector<float> all;
  for (const Tensor& states : passes.states()) {
    const std::vector<float> some = ops::to_host_f32(ctx, states);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

TEST(LayerLikeness, IsWhatOtherWeightsChange) {
  DrawnModel model(of_layers(4));
  repeat_layer(model, 1, 2);
  silence_layer(model, 3);
  const LayerLikeness likeness = likeness_in({.data = 1}, model);
  EXPECT_EQ(likeness.change[1][2], 0);
  EXPECT_NEAR(likeness.cosine[2][1], 1, 1e-12);
  EXPECT_GT(likeness.change[0][1], 1e-3);
  EXPECT_LT(likeness.cosine[0][1], 1);
  // Nothing in the place of nothing; what a layer adds against nothing.
  EXPECT_EQ(likeness.change[3][3], 0);
  EXPECT_EQ(likeness.cosine[1][3], 0);
  EXPECT_GT(likeness.change[1][3], 0);
  // The last layer with other weights, of the whole model.
  const std::vector<float> before = last_stream(model);
  repeat_layer(model, 1, 3);
  const std::vector<float> after = last_stream(model);
  double change = 0, stream = 0;
  for (size_t k = 0; k < before.size(); ++k) {
    change += std::pow(double{after[k]} - before[k], 2);
    stream += std::pow(double{before[k]}, 2);
  }
  EXPECT_NEAR(likeness.change[3][1], change / stream, 1e-6);
}

TEST(LayerLikeness, IsTheSameInEveryLayout) {
  const DrawnModel dense(of_layers(4, ModelFamily::gemma2));
  const LayerLikeness one = likeness_in({.data = 1}, dense);
  const ParallelPlan plans[] = {{.data = 2, .pipeline = 2},
                                {.data = 1, .tensor = 2, .sequence = true},
                                {.data = 1, .pipeline = 3, .schedule = ScheduleKind::one_f_one_b},
                                {.data = 1, .tensor = 2, .pipeline = 2}};
  for (const ParallelPlan& plan : plans) {
    const LayerLikeness likeness = likeness_in(plan, dense);
    expect_near_rows(likeness.change, one.change);
    expect_near_rows(likeness.cosine, one.cosine);
  }
  ModelConfig config = of_layers(4);
  config.moe = {.num_experts = 4, .expert_ffn_size = 12, .every = 2};
  const DrawnModel mixture(config);
  const LayerLikeness of_mixture = likeness_in({.data = 1}, mixture);
  EXPECT_TRUE(std::isnan(of_mixture.change[0][1]));
  EXPECT_GT(of_mixture.change[0][2], 0);
  expect_near_rows(likeness_in({.data = 2, .pipeline = 2, .expert = 2}, mixture).change, of_mixture.change);
}

LayerLikeness drawn_likeness(int64_t layers, uint64_t seed) {
  const auto n = static_cast<size_t>(layers);
  LayerLikeness likeness{Rows(n, std::vector<double>(n, 0)), Rows(n, std::vector<double>(n, 1))};
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i != j) likeness.change[i][j] = philox4x32(seed, i * n + j, 1)[0] * 0x1p-32;
    }
  }
  return likeness;
}

double cost_of(const LayerLikeness& likeness, const std::vector<int64_t>& layers, int64_t of) {
  double sum = 0;
  for (const int64_t i : layers) sum += likeness.change[static_cast<size_t>(i)][static_cast<size_t>(of)];
  return sum;
}

double cost_of(const LayerLikeness& likeness, const std::vector<int64_t>& layers) {
  double least = std::numeric_limits<double>::infinity();
  for (const int64_t of : layers) least = std::min(least, cost_of(likeness, layers, of));
  return least;
}

/// Of all divisions of 0.. into `count` runs.
double least_of_runs(const LayerLikeness& likeness, int64_t begin, int64_t end, int64_t count) {
  if (count == 0) return begin == end ? 0 : std::numeric_limits<double>::infinity();
  double least = std::numeric_limits<double>::infinity();
  std::vector<int64_t> run;
  for (int64_t e = begin; e < end; ++e) {
    run.push_back(e);
    least = std::min(least, cost_of(likeness, run) + least_of_runs(likeness, e + 1, end, count - 1));
  }
  return least;
}

TEST(ChooseSets, OfNeighboursAreTheBestDivision) {
  const ModelConfig config = of_layers(6);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const LayerLikeness likeness = drawn_likeness(6, seed);
    for (int64_t count = 1; count < 6; ++count) {
      const auto sets = choose_sets(config, likeness, FoldGrouping::adjacent, count);
      ASSERT_EQ(std::ssize(sets), count);
      double cost = 0;
      int64_t next = 0;
      for (const FoldedSet& set : sets) {
        for (const int64_t layer : set.layers) EXPECT_EQ(layer, next++);
        EXPECT_EQ(cost_of(likeness, set.layers, set.values), cost_of(likeness, set.layers));
        cost += cost_of(likeness, set.layers);
      }
      EXPECT_EQ(next, 6);
      EXPECT_NEAR(cost, least_of_runs(likeness, 0, 6, count), 1e-12) << seed << " " << count;
    }
  }
}

TEST(ChooseSets, ByLikenessFindLayersApart) {
  LayerLikeness likeness = drawn_likeness(5, 3);
  for (auto& row : likeness.change) {
    for (double& change : row) change += change == 0 ? 0 : 1;
  }
  likeness.change[0][3] = 0.2, likeness.change[3][0] = 0.1;
  likeness.change[1][4] = 0.01, likeness.change[4][1] = 0.3;
  const auto sets = choose_sets(of_layers(5), likeness, FoldGrouping::likeness, 3);
  ASSERT_EQ(sets.size(), 3u);
  EXPECT_EQ(sets[0].layers, (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(sets[0].values, 0);
  EXPECT_EQ(sets[1].layers, (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(sets[1].values, 4);
  EXPECT_EQ(sets[2].layers, (std::vector<int64_t>{2}));
  const ModelConfig folded = fold_config(of_layers(5), sets);
  EXPECT_EQ(sharing_of(folded), (std::vector<int64_t>{0, 1, 2, 0, 1}));
  // What shares already stays together.
  const auto fewer = choose_sets(folded, drawn_likeness(5, 4), FoldGrouping::likeness, 2);
  EXPECT_EQ(std::accumulate(fewer.begin(), fewer.end(), int64_t{0},
                            [](int64_t n, const FoldedSet& s) { return n + std::ssize(s.layers); }),
            5);
  const ModelConfig twice = fold_config(folded, fewer);
  EXPECT_EQ(num_distinct_layers(twice), 2);
  EXPECT_EQ(twice.weights_of(3), twice.weights_of(0));
}

TEST(ChooseSets, SayWhatCannotBe) {
  ModelConfig config = of_layers(4);
  const LayerLikeness likeness = drawn_likeness(4, 1);
  for (const int64_t count : {0, 4, 5})
    expect_error(ExitCode::usage, {"give a number from 1 to 3"},
                 [&] { choose_sets(config, likeness, FoldGrouping::adjacent, count); });
  config.moe = {.num_experts = 4, .expert_ffn_size = 12, .every = 2};
  expect_error(ExitCode::usage, {"neighbours with other parts", "4 sets", "grouping = likeness"},
               [&] { choose_sets(config, likeness, FoldGrouping::adjacent, 2); });
  EXPECT_EQ(choose_sets(config, likeness, FoldGrouping::likeness, 2).size(), 2u);
  expect_error(ExitCode::usage, {"there are 2 kinds"},
               [&] { choose_sets(config, likeness, FoldGrouping::likeness, 1); });
  LayerLikeness broken = likeness;
  broken.change[0][2] = std::nan("");
  expect_error(ExitCode::numerics, {"layers 0 and 2"},
               [&] { choose_sets(config, broken, FoldGrouping::likeness, 2); });
  const std::vector<FoldedSet> twice = {{{0, 1}, 0}, {{1, 2, 3}, 1}}, few = {{{0, 1}, 0}},
                               other = {{{0, 1, 2, 3}, 7}};
  expect_error(ExitCode::usage, {"layer 1 is folded twice"}, [&] { fold_config(of_layers(4), twice); });
  expect_error(ExitCode::usage, {"layer 2 is in no set"}, [&] { fold_config(of_layers(4), few); });
  expect_error(ExitCode::usage, {"weights of layer 7"}, [&] { fold_config(of_layers(4), other); });
  ModelConfig quantized = of_layers(4);
  quantized.quantization.weights = {ops::PackedFormat::int8, 0};
  expect_error(ExitCode::usage, {"qat"}, [&] { fold_config(quantized, {{{0, 1, 2, 3}, 0}}); });
}

std::vector<float> values_in(const WeightSource& source, const std::string& name) {
  const Shape shape = source.kinds().at(name).shape;
  const Parameter p = Parameter::whole(name, shape, 0, 0);
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  source.read(name, p, values);
  return values;
}

TEST(FoldWeights, AreTheChosenOnesOrTheMean) {
  ModelConfig config = of_layers(4, ModelFamily::gpt2);
  const auto model = std::make_shared<DrawnModel>(config);
  const std::vector<FoldedSet> sets = {{{0, 1}, 1}, {{2, 3}, kMeanWeights}};
  const auto folded = fold_weights(model, config, sets);
  EXPECT_FALSE(folded->kinds().contains("layers.1.ffn.up.weight"));
  EXPECT_EQ(values_in(*folded, "layers.0.ffn.up.weight"), model->at("layers.1.ffn.up.weight"));
  EXPECT_EQ(values_in(*folded, "embedding.tokens.weight"), model->at("embedding.tokens.weight"));
  const auto mean = values_in(*folded, "layers.2.ffn.up.bias");
  for (size_t i = 0; i < mean.size(); ++i)
    EXPECT_FLOAT_EQ(mean[i],
                    (model->at("layers.2.ffn.up.bias")[i] + model->at("layers.3.ffn.up.bias")[i]) / 2);
  logits_of(*folded, fold_config(config, sets));
}

// Where layers are repeated, sharing them changes nothing, whichever is taken; of experts, each layer keeps
// its biases.
TEST(FoldWeights, OfRepeatedLayersKeepTheFunction) {
  ModelConfig config = of_layers(4);
  config.moe = {.num_experts = 4, .expert_ffn_size = 12, .every = 2, .bias_rate = 0.1};
  const auto model = std::make_shared<DrawnModel>(config);
  const std::vector<float> bias = model->at("layers.2.ffn.router.bias");
  repeat_layer(*model, 0, 2);
  repeat_layer(*model, 1, 3);
  model->at("layers.2.ffn.router.bias") = bias;
  const std::vector<float> before = logits_of(*model, config);
  for (const int64_t values : {2, 0}) {
    const std::vector<FoldedSet> sets = {{{0, 2}, values}, {{1, 3}, values + 1}};
    const ModelConfig folded = fold_config(config, sets);
    EXPECT_EQ(folded.share, 2);
    EXPECT_EQ(logits_of(*fold_weights(model, config, sets), folded), before) << values;
  }
}

}  // namespace
}  // namespace trireme::test
