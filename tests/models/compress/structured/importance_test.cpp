// Importances of units: by their definitions from what each layer computes, and in every layout the same.
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "models/compress/calibration_passes.h"
#include "parallel/module/routing_observer.h"
#include "runtime/ops/host_copy.h"
#include "tests/models/compress/structured/drawn_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

using Samples = std::vector<std::vector<int32_t>>;

UnitImportance importance_in(const ParallelPlan& plan, const DrawnModel& weights, const Samples& samples) {
  UnitImportance importance;
  std::mutex mutex;
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    InferenceModel model(ctx, world, weights, weights.config(), {.plan = plan});
    std::vector<int64_t> seen;
    const auto own = measure_importance(ctx, model, weights, samples, 3, [&](int64_t done, int64_t total) {
      seen.push_back(done);
      EXPECT_EQ(total, weights.config().num_layers + 1);
    });
    EXPECT_EQ(seen.size(), world.rank() == 0 ? static_cast<size_t>(weights.config().num_layers + 2) : 0U);
    const std::lock_guard lock(mutex);
    if (importance.empty()) importance = own;
    for (size_t i = 0; i < own.size(); ++i) {
      EXPECT_EQ(own[i].layer, importance[i].layer);
      EXPECT_EQ(own[i].heads, importance[i].heads);
      EXPECT_EQ(own[i].neurons, importance[i].neurons);
      EXPECT_EQ(own[i].experts, importance[i].experts);
      EXPECT_EQ(own[i].shared_neurons, importance[i].shared_neurons);
    }
  });
  return importance;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance * std::abs(expected[i])) << i;
}

void expect_near(const UnitImportance& found, const UnitImportance& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_NEAR(found[i].layer, expected[i].layer, tolerance);
    expect_near(found[i].heads, expected[i].heads, tolerance);
    ASSERT_EQ(found[i].neurons.size(), expected[i].neurons.size());
    for (size_t e = 0; e < found[i].neurons.size(); ++e)
      expect_near(found[i].neurons[e], expected[i].neurons[e], tolerance);
    expect_near(found[i].experts, expected[i].experts, tolerance);
    expect_near(found[i].shared_neurons, expected[i].shared_neurons, tolerance);
  }
}

/// Keeps all rows that it sees, of each matrix.
struct KeptInputs final : InputObserver {
  void inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) override {
    const std::vector<float> values = ops::to_host_f32(ctx, x);
    rows.resize(counts.size());
    auto at = values.begin();
    for (size_t m = 0; m < counts.size(); ++m) {
      rows[m].insert(rows[m].end(), at, at + counts[m] * x.dim(1));
      at += counts[m] * x.dim(1);
    }
  }
  std::vector<std::vector<float>> rows;
};

/// Gates of the tokens of each expert, token by token.
struct KeptGates final : RoutingObserver {
  void after_choice(Context& ctx, const MicroBatch&, const RouterBalance&, const Tensor& logits,
                    const Tensor& chosen, const Tensor& gates) override {
    const auto experts = ops::to_host<int32_t>(ctx, chosen);
    const auto values = ops::to_host<float>(ctx, gates);
    of_expert.resize(static_cast<size_t>(logits.dim(1)));
    for (size_t c = 0; c < experts.size(); ++c)
      of_expert[static_cast<size_t>(experts[c])].push_back(values[c]);
  }
  std::vector<std::vector<float>> of_expert;
};

/// What a matrix [outputs, width] makes of columns [begin, end) of each row: its squared norm.
std::vector<double> squares_made(const std::vector<float>& w, const std::vector<float>& rows, int64_t width,
                                 int64_t begin, int64_t end) {
  std::vector<double> squares;
  for (int64_t r = 0; r < std::ssize(rows) / width; ++r) {
    double& square = squares.emplace_back(0);
    for (int64_t o = 0; o < std::ssize(w) / width; ++o) {
      double y = 0;
      for (int64_t i = begin; i < end; ++i)
        y += static_cast<double>(w[static_cast<size_t>(o * width + i)]) *
             rows[static_cast<size_t>(r * width + i)];
      square += y * y;
    }
  }
  return squares;
}

double sum_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum;
}

/// Units of `size` inputs each, on their own.
std::vector<double> contributions(const std::vector<float>& w, const std::vector<float>& rows, int64_t width,
                                  int64_t size) {
  std::vector<double> all;
  for (int64_t i = 0; i < width; i += size) all.push_back(sum_of(squares_made(w, rows, width, i, i + size)));
  return all;
}

/// By brute force, on one rank, in one pass.
UnitImportance importance_by_hand(DrawnModel& weights, const Samples& samples) {
  const ModelConfig& config = weights.config();
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel model(ctx, *self, weights, config, {.plan = {.data = 1}});
  std::map<std::string, KeptInputs> kept;
  for (ParameterBlock* block : model.model().part().blocks()) {
    if (!block->packed) continue;
    PackedBlock seen = *block->packed;
    seen.observer = &kept[block->members.front().name];
    block->packed = std::make_shared<const PackedBlock>(std::move(seen));
  }
  std::map<std::string, KeptGates> gates;
  for (RouterBalance* router : model.model().part().routers()) router->observer = &gates[router->name];
  CalibrationPasses passes(ctx, model.parallel(), model.model(), samples, 3);
  UnitImportance importance;
  passes.arrive(ctx, 0);
  passes.forward(ctx, 0, true);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::vector<float> before = ops::to_host_f32(ctx, passes.states().front());
    passes.forward(ctx, static_cast<int>(i) + 1, true);
    const std::vector<float> after = ops::to_host_f32(ctx, passes.states().front());
    LayerImportance& of = importance.emplace_back();
    const auto hidden = static_cast<size_t>(config.hidden_size);
    for (size_t at = 0; at < before.size(); at += hidden) {
      double xy = 0, xx = 0, yy = 0;
      for (size_t j = at; j < at + hidden; ++j) {
        xy += static_cast<double>(before[j]) * after[j];
        xx += static_cast<double>(before[j]) * before[j];
        yy += static_cast<double>(after[j]) * after[j];
      }
      of.layer += 1 - xy / std::sqrt(xx * yy);
    }
    of.layer /= static_cast<double>(before.size() / hidden);
    const std::string name = block_name(i);
    const auto inputs_of = [&](const std::string& first) { return kept.at(first + ".weight").rows; };
    of.heads = contributions(weights.at(name + ".attention.output.weight"),
                             inputs_of(name + ".attention.output").front(),
                             config.num_heads * config.head_dim(), config.head_dim());
    if (!config.moe.is_in(i)) {
      of.neurons = {contributions(weights.at(name + ".ffn.down.weight"),
                                  inputs_of(name + ".ffn.down").front(), config.ffn_size, 1)};
      continue;
    }
    const auto rows = inputs_of(name + ".ffn.experts.0.down");
    const KeptGates& of_router = gates.at(router_name(i));
    for (int64_t e = 0; e < config.moe.num_experts; ++e) {
      const auto& w = weights.at(fmt::format("{}.ffn.experts.{}.down.weight", name, e));
      const auto& own = rows[static_cast<size_t>(e)];
      of.neurons.push_back(contributions(w, own, config.expert_ffn_size(), 1));
      const auto squares = squares_made(w, own, config.expert_ffn_size(), 0, config.expert_ffn_size());
      double& sum = of.experts.emplace_back(0);
      for (size_t t = 0; t < squares.size(); ++t)
        sum += of_router.of_expert[static_cast<size_t>(e)].at(t) * std::sqrt(squares[t]);
    }
    if (config.moe.shared_ffn_size > 0) {
      of.shared_neurons =
          contributions(weights.at(name + ".ffn.shared.down.weight"),
                        inputs_of(name + ".ffn.shared.down").front(), config.moe.shared_ffn_size, 1);
    }
  }
  return importance;
}

TEST(UnitImportance, IsWhatUnitsContributeByTheDefinition) {
  for (const NamedModel& named : inference_models(48)) {
    if (named.config.share > 0) continue;
    SCOPED_TRACE(named.name);
    DrawnModel weights(named.config);
    const auto samples = some_samples(named.config, 2, 20);
    expect_near(importance_in({.data = 1}, weights, samples), importance_by_hand(weights, samples), 1e-5);
  }
}

TEST(UnitImportance, IsOneRanksInEveryLayout) {
  using enum ScheduleKind;
  const std::vector<ParallelPlan> of_dense{
      {.data = 2},
      {.data = 1, .tensor = 2},
      {.data = 1, .tensor = 4},
      {.data = 1, .tensor = 2, .sequence = true},
      {.data = 1, .pipeline = 2, .schedule = interleaved, .virtual_stages = 2},
      {.data = 2, .tensor = 2}};
  const std::vector<ParallelPlan> of_mixtures{{.data = 2, .expert = 2},
                                              {.data = 2, .tensor = 2, .expert = 2},
                                              {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1},
                                              {.data = 1, .tensor = 2, .pipeline = 2},
                                              {.data = 1, .tensor = 2, .expert_tensor = 1},
                                              {.data = 4, .expert = 2}};
  const auto models = inference_models(48);
  const auto expect_alike = [](const ModelConfig& config, const std::vector<ParallelPlan>& plans) {
    const DrawnModel weights(config);
    const auto samples = some_samples(config, 5, 24);
    const UnitImportance one = importance_in({.data = 1}, weights, samples);
    for (size_t i = 0; i < plans.size(); ++i) {
      SCOPED_TRACE(i);
      expect_near(importance_in(plans[i], weights, samples), one, 1e-4);
    }
  };
  expect_alike(models[0].config, of_dense);
  expect_alike(models[2].config, of_mixtures);
  expect_alike(models[3].config, {of_dense[4]});  // weights that layers on two ranks share
  ModelConfig biased = models[2].config;
  biased.moe.bias_rate = 0.1;
  expect_alike(biased, {of_mixtures[1]});
}

TEST(UnitImportance, OfMoreSamplesThanRanksOrFewer) {
  const ModelConfig config = inference_models(48)[2].config;
  const DrawnModel weights(config);
  const auto samples = some_samples(config, 1, 24);
  expect_near(importance_in({.data = 2, .expert = 2}, weights, samples),
              importance_in({.data = 1}, weights, samples), 1e-4);
  expect_error(ExitCode::bad_input, {"no samples"}, [&] { importance_in({.data = 1}, weights, {}); });
}

}  // namespace
}  // namespace trireme::test
