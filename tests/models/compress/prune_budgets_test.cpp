// Sparsities of matrices for one of all together, against definitions.
#include "models/compress/prune_budgets.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/models/compress/matrices.h"
#include "tests/models/compress/quantized_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

using enum PruneMethod;

ModelConfig llama() { return inference_models(48)[0].config; }

std::vector<float> read_whole(const WeightSource& source, const std::string& name, const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  source.read(name, Parameter::whole(name, shape, 0, 0), values);
  return values;
}

// The names and shapes of all matrices of blocks.
std::map<std::string, Shape> matrices_of(const WeightSource& source) {
  std::map<std::string, Shape> matrices;
  for (const auto& [name, kind] : source.kinds()) {
    if (kind.shape.rank() == 2 && name.starts_with("layers.")) matrices[name] = kind.shape;
  }
  return matrices;
}

std::map<std::string, double> budgets_in(const ParallelPlan& plan, const InitialWeights& weights,
                                         const PruneBudgetOptions& options) {
  std::map<std::string, double> result;
  std::mutex mutex;
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx({}, 1);
    const auto source = weights.open();
    InferenceModel model(ctx, world, *source, weights.config(), {.plan = plan});
    const auto samples = some_samples(weights.config(), 3, 16, 77);
    const auto before = logits_of_samples(ctx, model.model(), samples);
    const auto found = prune_budgets(ctx, model, *source, options);
    EXPECT_EQ(logits_of_samples(ctx, model.model(), samples), before);
    const std::lock_guard lock(mutex);
    if (result.empty()) result = found;
    EXPECT_EQ(result, found);
  });
  return result;
}

PruneBudgetOptions budget_options(const WeightSource& source, PruneMethod method, double sparsity) {
  PruneBudgetOptions options{.method = method, .sparsity = sparsity, .matrices = {}};
  for (const auto& [name, shape] : matrices_of(source)) options.matrices.push_back(name);
  return options;
}

TEST(PruneBudgets, OneThresholdOverAllMatrices) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  const auto source = weights.open();
  const auto matrices = matrices_of(*source);
  std::vector<float> all;
  for (const auto& [name, shape] : matrices) {
    for (const float w : read_whole(*source, name, shape)) all.push_back(std::abs(w));
  }
  std::ranges::sort(all);
  Context ctx({}, 1);
  for (const double sparsity : {0.0, 0.3, 0.77, 1.0}) {
    const auto budgets =
        budgets_in({.data = 1, .tensor = 2}, weights, budget_options(*source, magnitude, sparsity));
    const auto expected = static_cast<int64_t>(sparsity * static_cast<double>(all.size()));
    int64_t zeros = 0;
    float least_kept = 1e9f, most_gone = 0;
    for (const auto& [name, shape] : matrices) {
      const auto w = read_whole(*source, name, shape);
      const auto values = prune_matrix(ctx, w, shape[0], shape[1], {}, {magnitude, budgets.at(name)}).values;
      for (size_t i = 0; i < w.size(); ++i) {
        const bool goes = values[i] == 0;
        zeros += goes;
        if (goes)
          most_gone = std::max(most_gone, std::abs(w[i]));
        else
          least_kept = std::min(least_kept, std::abs(w[i]));
      }
    }
    EXPECT_EQ(zeros, expected);
    EXPECT_LE(most_gone, least_kept);
  }
}

TEST(PruneBudgets, LayersWithOutliersKeepMore) {
  const std::vector<LayerOutliers> layers{{100, 0.02}, {300, 0.01}, {100, 0.05}};
  const auto sparsities = outlier_weighted_sparsities(layers, 0.6);
  // Densities over a range of 0.16: 0.04, 0, 0.16, the mean of which is 0.04.
  EXPECT_NEAR(sparsities[0], 0.6, 1e-12);
  EXPECT_NEAR(sparsities[1], 0.64, 1e-12);
  EXPECT_NEAR(sparsities[2], 0.48, 1e-12);
  for (const double s : outlier_weighted_sparsities(std::vector<LayerOutliers>{{5, 0.1}, {7, 0.1}}, 0.3))
    EXPECT_NEAR(s, 0.3, 1e-12);
  const auto high = outlier_weighted_sparsities(layers, 0.95, 0.2);  // two would be above 1
  EXPECT_EQ(high[0], 1);
  EXPECT_EQ(high[1], 1);
  EXPECT_NEAR(high[2], 0.75, 1e-12);
  for (const double sparsity : {0.0, 1.0}) {
    for (const double s : outlier_weighted_sparsities(layers, sparsity)) EXPECT_NEAR(s, sparsity, 1e-12);
  }
  EXPECT_TRUE(outlier_weighted_sparsities({}, 0.5).empty());
}

TEST(PruneBudgets, CountsOutliersOfTheModelAsItIs) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  const auto source = weights.open();
  const auto matrices = matrices_of(*source);
  PruneBudgetOptions options = budget_options(*source, wanda, 0.55);
  options.outlier = 2.5;
  options.samples = some_samples(config, 7, 24);
  const auto one = budgets_in({.data = 1}, weights, options);
  QuantizeModelOptions measuring;  // by hand, from what calibration sees
  measuring.plan.sequential = false;
  measuring.plan.plan_of = [](const std::string&) { return MatrixPlan{.is_measured = true}; };
  measuring.samples = options.samples;
  const QuantizedRun run = quantize_in({.data = 1}, weights, measuring);
  EXPECT_EQ(run.logits, run.logits_before);
  EXPECT_TRUE(run.outcomes.empty());
  std::vector<LayerOutliers> layers(static_cast<size_t>(config.num_layers));
  for (size_t l = 0; l < layers.size(); ++l) {
    std::vector<double> importances;
    for (const auto& [name, shape] : matrices) {
      if (!name.starts_with(fmt::format("layers.{}.", l))) continue;
      const auto& hessian = run.statistics.at(name).hessian;
      const auto w = read_whole(*source, name, shape);
      const auto n = static_cast<size_t>(shape[1]);
      for (size_t i = 0; i < w.size(); ++i)
        importances.push_back(std::abs(static_cast<double>(w[i])) * std::sqrt(hessian[i % n * (n + 1)]));
    }
    double mean = 0;
    for (const double x : importances) mean += x / static_cast<double>(importances.size());
    layers[l] = {std::ssize(importances), static_cast<double>(std::ranges::count_if(
                                              importances, [&](double x) { return x > 2.5 * mean; })) /
                                              static_cast<double>(importances.size())};
  }
  const auto expected = outlier_weighted_sparsities(layers, 0.55);
  EXPECT_GT(std::ranges::max(expected) - std::ranges::min(expected), 0.1);
  const auto several = budgets_in({.data = 2, .tensor = 2}, weights, options);
  for (const auto& [name, shape] : matrices) {
    const auto layer = static_cast<size_t>(name[7] - '0');
    EXPECT_NEAR(one.at(name), expected[layer], 1e-9) << name;
    EXPECT_NEAR(several.at(name), expected[layer], 0.01) << name;
  }
  options.sparsity = 1.5;
  expect_error(ExitCode::usage, {"1.5"}, [&] { budgets_in({.data = 1}, weights, options); });
  options.sparsity = 0.5;
  options.matrices.clear();
  expect_error(ExitCode::usage, {"no matrices"}, [&] { budgets_in({.data = 1}, weights, options); });
}

}  // namespace
}  // namespace trireme::test
