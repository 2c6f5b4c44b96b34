// Whole models made sparse: any layout, resumption, what the model in memory holds, and budgets over all
// matrices.
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
ModelConfig tied() { return inference_models(48)[1].config; }
ModelConfig mixture() { return inference_models(48)[2].config; }

QuantizeModelOptions pruning_all(const ModelConfig& config, const PruneOptions& pruning) {
  QuantizeModelOptions options;
  options.plan.plan_of = [pruning](const std::string&) { return MatrixPlan{.pruning = pruning}; };
  options.samples = some_samples(config, 7, 24);
  return options;
}

std::vector<float> read_whole(const WeightSource& source, const std::string& name, const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  source.read(name, Parameter::whole(name, shape, 0, 0), values);
  return values;
}

std::vector<float> logits_of(const KeptResults& kept, const ModelConfig& config) {
  const auto self = make_self_communicator();
  Context ctx;
  const KeptSource source(kept);
  InferenceModel model(ctx, *self, source, config, {.plan = {.data = 1}});
  return logits_of_samples(ctx, model.model(), some_samples(config, 3, config.max_positions / 2, 77));
}

double part_of_zeros(const std::vector<float>& values) {
  return static_cast<double>(std::ranges::count(values, 0.0f)) / static_cast<double>(values.size());
}

TEST(PruneModel, GivesTheValuesThatItHolds) {
  for (const ModelConfig& config : {llama(), tied(), mixture()}) {
    SCOPED_TRACE(config.hidden_size);
    const InitialWeights weights(config);
    for (const PruneMethod method : {magnitude, wanda, sparsegpt}) {
      const QuantizedRun run = quantize_in({.data = 1}, weights, pruning_all(config, {method}));
      EXPECT_TRUE(run.kept.matrices.empty());
      EXPECT_EQ(logits_of(run.kept, config), run.logits);
      EXPECT_NE(run.logits, run.logits_before);
      EXPECT_GT(std::ssize(run.outcomes), 6 * config.num_layers);
      for (const MatrixOutcome& outcome : run.outcomes) {
        EXPECT_NEAR(part_of_zeros(run.kept.tensors.at(outcome.name)), 0.5, 0.02) << outcome.name;
        const bool by_magnitude = method == magnitude || outcome.tokens == 0;
        EXPECT_EQ(outcome.what, by_magnitude      ? "50% zero, magnitude"
                                : method == wanda ? "50% zero, wanda"
                                                  : "50% zero, sparsegpt");
        EXPECT_GT(outcome.report.error, 0) << outcome.name;
      }
    }
  }
}

// The matrix as prune_matrix() makes it of the statistics that were measured.
TEST(PruneModel, PrunesByTheStatisticsOfItsLayers) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  const auto source = weights.open();
  Context ctx({}, 1);
  for (const PruneMethod method : {wanda, sparsegpt}) {
    const PruneOptions pruning{.method = method, .zeros = 2, .of = 4};
    const QuantizedRun run = quantize_in({.data = 1}, weights, pruning_all(config, pruning));
    for (const auto& [name, statistics] : run.statistics) {
      if (statistics.is_empty()) continue;
      const Shape shape = run.kept.shapes.at(name);
      EXPECT_EQ(
          run.kept.tensors.at(name),
          prune_matrix(ctx, read_whole(*source, name, shape), shape[0], shape[1], statistics, pruning).values)
          << name;
    }
  }
}

TEST(PruneModel, CalibratesOnSparseLayersOnlyWhenSequential) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = pruning_all(config, {wanda});
  const QuantizedRun sequential = quantize_in({.data = 1}, weights, options);
  options.plan.sequential = false;
  const QuantizedRun at_once = quantize_in({.data = 1}, weights, options);
  const auto hessian = [](const QuantizedRun& run, const char* name) {
    return run.statistics.at(name).hessian;
  };
  EXPECT_EQ(hessian(sequential, "layers.0.attention.query.weight"),
            hessian(at_once, "layers.0.attention.query.weight"));
  EXPECT_NE(hessian(sequential, "layers.0.ffn.down.weight"), hessian(at_once, "layers.0.ffn.down.weight"));
}

TEST(PruneModel, OfAnyLayoutIsOneRanks) {
  struct Case {
    ModelConfig config;
    std::vector<ParallelPlan> plans;
  };
  ModelConfig wide = mixture();
  wide.moe.expert_ffn_size = 56;
  using enum ScheduleKind;
  for (const Case& c : {Case{llama(),
                             {{.data = 2, .tensor = 2},
                              {.data = 1, .tensor = 4},
                              {.data = 1, .pipeline = 2, .schedule = interleaved, .virtual_stages = 2}}},
                        Case{wide, {{.data = 2, .expert = 2}, {.data = 2, .pipeline = 2, .expert = 2}}}}) {
    const InitialWeights weights(c.config);
    for (const PruneOptions& pruning :
         {PruneOptions{magnitude, 0.4}, PruneOptions{wanda},
          PruneOptions{.method = wanda, .sparsity = 0.6, .scope = PruneScope::matrix},
          PruneOptions{.method = sparsegpt, .block = 16}}) {
      const QuantizeModelOptions options = pruning_all(c.config, pruning);
      const QuantizedRun one = quantize_in({.data = 1}, weights, options);
      for (const ParallelPlan& plan : c.plans) {
        SCOPED_TRACE(fmt::format("{}, {} ranks", describe_pruning(pruning), plan.world_size()));
        const QuantizedRun run = quantize_in(plan, weights, options);
        int64_t different = 0, total = 0;
        for (const auto& [name, values] : one.kept.tensors) {
          const auto& found = run.kept.tensors.at(name);
          total += std::ssize(values);
          for (size_t i = 0; i < values.size(); ++i) different += (found[i] == 0) != (values[i] == 0);
        }
        // Sums of statistics in another order move what lies at a threshold, and with it what comes after.
        EXPECT_LE(different, pruning.method == magnitude ? 0 : total / 200);
        EXPECT_LT(relative_difference(run.logits, one.logits), pruning.method == magnitude ? 1e-5 : 2e-2);
        ASSERT_EQ(run.outcomes.size(), one.outcomes.size());
        for (size_t i = 0; i < one.outcomes.size(); ++i) {
          EXPECT_EQ(run.outcomes[i].name, one.outcomes[i].name);
          EXPECT_EQ(run.outcomes[i].what, one.outcomes[i].what);
          EXPECT_NEAR(run.outcomes[i].report.error, one.outcomes[i].report.error,
                      0.02 * one.outcomes[i].report.error);
        }
      }
    }
  }
}

TEST(PruneModel, ResumesWithTheSameBits) {
  const ModelConfig config = tied();
  const InitialWeights weights(config);
  QuantizeModelOptions options = pruning_all(config, {sparsegpt});
  const QuantizedRun whole = quantize_in({.data = 1}, weights, options);
  for (const int64_t finished : {int64_t{2}, config.num_layers + 2}) {
    const KeptSource source(whole.kept);
    options.finished = &source;
    options.num_finished_blocks = finished;
    const QuantizedRun rest = quantize_in({.data = 1, .pipeline = 2}, weights, options);
    EXPECT_EQ(rest.logits, whole.logits);
    EXPECT_EQ(std::ssize(rest.kept.done), config.num_layers + 2 - finished);
    for (const auto& [name, values] : rest.kept.tensors)
      EXPECT_EQ(values, whole.kept.tensors.at(name)) << name;
  }
}

TEST(PruneModel, HoldsHalfTypesAndExpertsWithoutTokens) {
  ModelConfig config = mixture();
  const InitialWeights weights(config);
  QuantizeModelOptions options = pruning_all(config, {sparsegpt});
  options.samples = some_samples(config, 1, 1);  // two of four experts at most
  const QuantizedRun run = quantize_in({.data = 1, .tensor = 2}, weights, options, DType::bf16);
  int64_t without = 0;
  for (const MatrixOutcome& outcome : run.outcomes) {
    if (outcome.name.find(".experts.") == std::string::npos || outcome.tokens > 0) continue;
    ++without;
    EXPECT_EQ(outcome.what, "50% zero, magnitude");
    EXPECT_NE(outcome.report.note.find("no calibration token"), std::string::npos);
  }
  EXPECT_GT(without, 0);
  EXPECT_LT(relative_difference(run.logits, logits_of(run.kept, config)), 0.05);
}

TEST(PruneModel, RefusesOptionsWithTheMatrixsName) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  expect_error(ExitCode::usage, {"embedding.tokens.weight", "sparsity of 2"}, [&] {
    quantize_in({.data = 1}, weights, pruning_all(config, {wanda, 2}));
  });
}

}  // namespace
}  // namespace trireme::test
