// Pruning while training: what becomes zero, in every layout, and that it stays so.
#include <gtest/gtest.h>

#include "models/spec/prunable.h"
#include "parallel/pruning/prune_schedule.h"
#include "parallel/pruning/selection.h"
#include "tests/parallel/pruning/pruned_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

std::vector<PruneConfig> kinds() {
  return {{.sparsity = 0.37},
          {.sparsity = 0.37, .budget = PruneBudget::global},
          {.sparsity = 0.37, .budget = PruneBudget::output},
          {.zeros = 2, .of = 4},
          {.zeros = 3, .of = 7, .budget = PruneBudget::global},
          {.sparsity = 0.3, .unit = PruneUnit::neuron},
          {.sparsity = 0.6, .unit = PruneUnit::kv_group, .budget = PruneBudget::global},
          {.sparsity = 0.5, .unit = PruneUnit::head, .skip = {"layers.0.*"}}};
}

// The first choice is of weights with equal bits.
TEST(PruningLayouts, ChooseTheSameAndTrainOn) {
  struct {
    ModelFamily family;
    int64_t experts;
    std::vector<ParallelPlan> plans;
  } cases[] = {
      {ModelFamily::llama,
       0,
       {{.data = 2, .zero_stage = 3, .bucket_mib = in_mib(3000)},
        {.data = 1, .tensor = 2, .sequence = true},
        {.data = 1, .tensor = 4},  // copies of key-value heads
        {.data = 1, .pipeline = 2},
        {.data = 2, .tensor = 2, .zero_stage = 1},
        {.data = 1, .context = 2, .zero_stage = 2}}},
      {ModelFamily::gpt2, 0, {{.data = 2, .tensor = 2, .zero_stage = 2}, {.data = 3, .zero_stage = 1}}},
      {ModelFamily::llama, 4, {{.data = 2, .expert = 2, .zero_stage = 2}, {.data = 2, .expert = 2}}}};
  for (const auto& c : cases) {
    for (const PruneConfig& prune : kinds()) {
      PrunedRun run{.model = model_of(c.family, c.experts), .prune = prune};
      const auto one = trained(run, 1);
      expect_zero(*one);
      EXPECT_GT(one->part_zero, 0.1);
      const auto plans = sample(c.plans, 2,
                                static_cast<uint32_t>(prune.budget) + 8 * static_cast<uint32_t>(prune.of) +
                                    64 * static_cast<uint32_t>(prune.unit));
      for (const ParallelPlan& plan : plans) {
        SCOPED_TRACE(fmt::format("unit {} budget {} of {}: data {} tensor {} pipeline {} zero {}",
                                 static_cast<int>(prune.unit), static_cast<int>(prune.budget), prune.of,
                                 plan.data, plan.tensor, plan.pipeline, plan.zero_stage));
        run.plan = plan;
        const auto whole = trained(run, 1);
        EXPECT_EQ(whole->masks(), one->masks());
        EXPECT_EQ(whole->part_zero, one->part_zero);
        expect_zero(*whole);
      }
    }
  }
}

// Layers that share weights on two stages, and ranks of replicated shards.
TEST(PruningLayouts, CopiesAgree) {
  PrunedRun run{.prune = {.sparsity = 0.4, .budget = PruneBudget::global, .start_step = 1, .end_step = 1}};
  run.model.num_layers = 4;
  run.model.share = 2;
  const auto one = trained(run, 1);
  for (const ParallelPlan& plan : {ParallelPlan{.data = 2, .pipeline = 2, .zero_stage = 1},
                                   ParallelPlan{.data = 4, .zero_stage = 3, .shard = 2}}) {
    run.plan = plan;
    const auto whole = trained(run, 1);
    EXPECT_EQ(whole->part_zero, one->part_zero);
    expect_zero(*whole);
  }
}

TEST(Pruning, ZerosAreExactlyAsManyAsAsked) {
  for (const PruneConfig& prune : kinds()) {
    const PrunedRun run{.model = model_of(ModelFamily::gpt2), .prune = prune};
    const auto whole = trained(run, 1);
    const Prunable prunable = prunable_of(spec_of(run.model), prune, {});
    int64_t zeros = 0, units = 0, gone = 0;
    for (const PrunableMatrix& m : prunable.matrices) {
      zeros += whole->zeros(m.name);
      units += num_units(prune, m.shape);
      if (prune.unit != PruneUnit::weight || prune.budget == PruneBudget::global) continue;
      const int64_t rows = prune.budget == PruneBudget::output ? m.shape[0] : 1;
      const double part = prune.of > 0 ? 1 : prune.sparsity;
      EXPECT_EQ(whole->zeros(m.name), whole_part(part, num_units(prune, m.shape) / rows) * rows) << m.name;
    }
    if (prune.unit == PruneUnit::weight && prune.budget == PruneBudget::global) {
      EXPECT_EQ(zeros, whole_part(prune.of > 0 ? 1 : prune.sparsity, units));
    }
    units = 0;
    for (const UnitSet& set : prunable.sets) {
      const UnitPart& part = set.parts.back();  // columns
      const auto& mask = whole->mask(part.parameter);
      const auto columns = static_cast<size_t>(set.num_units * part.width);
      int64_t here = 0;
      for (size_t u = 0; u < static_cast<size_t>(set.num_units); ++u)
        here += mask[u * static_cast<size_t>(part.width)] != 0;
      ASSERT_EQ(mask.size() % columns, 0u);
      if (prune.budget == PruneBudget::matrix) {
        EXPECT_EQ(here, whole_part(prune.sparsity, set.num_units)) << set.name;
      }
      EXPECT_EQ(whole->zeros(part.parameter),
                here * part.width * static_cast<int64_t>(mask.size() / columns));
      EXPECT_EQ(whole->zeros(set.parts.front().parameter), here * part.width * run.model.hidden_size);
      gone += here;
      units += set.num_units;
    }
    if (!prunable.sets.empty() && prune.budget == PruneBudget::global) {
      EXPECT_EQ(gone, whole_part(prune.sparsity, units));
    }
    int64_t all = 0;
    for (const PrunableMatrix& m : prunable.matrices) all += m.shape.numel();
    EXPECT_DOUBLE_EQ(whole->part_zero, static_cast<double>(zeros) / static_cast<double>(all));
    EXPECT_FALSE(whole->masks().empty());
    for (const char* stays : {"embedding.tokens.weight", "embedding.positions.weight"})
      EXPECT_EQ(whole->zeros(stays), 0);
  }
}

// Neurons take their biases with them: what is pruned adds nothing.
TEST(Pruning, BiasesOfNeuronsGoToo) {
  const PrunedRun run{.model = model_of(ModelFamily::gpt2),
                      .prune = {.sparsity = 0.3, .unit = PruneUnit::neuron}};
  const auto whole = trained(run, 3);
  EXPECT_EQ(whole->zeros("layers.1.ffn.up.bias"), 12);
  EXPECT_EQ(whole->zeros("layers.1.ffn.down.bias"), 0);
  expect_zero(*whole);
}

// Zeros stay, others are not touched, and every layout follows one rank.
TEST(Pruning, ASchedulePrunesMoreAndMoreAndForgetsNothing) {
  struct {
    std::vector<ParameterRule> rules;
    double eps;
    DType precision;
    bool master;
  } kinds[] = {{{}, 1e-4, DType::f32, true},
               {muon_rules(), 1e-4, DType::f32, true},
               {{}, 0, DType::bf16, true},
               {muon_rules(), 1e-4, DType::bf16, false}};
  for (const auto& kind : kinds) {
    PrunedRun run{.prune = {.sparsity = 0.5, .start_step = 1, .end_step = 5, .every = 2}};
    run.options.rules = kind.rules;
    run.options.precision = kind.precision;
    run.options.master = kind.master;
    run.options.step.adamw.eps = kind.eps;
    Values last;
    for (const ParallelPlan& plan :
         {ParallelPlan{.data = 1}, ParallelPlan{.data = 2, .zero_stage = 3, .bucket_mib = in_mib(3000)},
          ParallelPlan{.data = 1, .tensor = 2}}) {
      run.plan = plan;
      std::vector<std::unique_ptr<Whole>> after;
      for (int i = 0; i < 7; ++i) after.push_back(std::make_unique<Whole>());
      on_ranks(run, [&](Communicator&, TrainingSession& session) {
        for (const auto& whole : after) {
          train(session, 1);
          whole->add(session);
        }
      });
      Values before;
      for (size_t i = 0; i < after.size(); ++i) {
        const double factor = schedule_factor(run.prune, static_cast<int64_t>(i) + 1);
        EXPECT_EQ(after[i]->zeros("layers.1.ffn.down.weight"), whole_part(0.5 * factor, 24 * 40)) << i;
        expect_zero(*after[i]);
        for (const auto& [name, mask] : before) {
          const auto& now = after[i]->values.at(name);
          for (size_t k = 0; k < mask.size(); ++k) ASSERT_GE(now[k], mask[k]) << name << " after " << i + 1;
        }
        before = after[i]->masks();
      }
      const auto& w = after.back()->values.at("layers.1.ffn.down.weight");
      EXPECT_EQ(std::ranges::count(w, 0.0f), 480) << "what is not pruned is trained";
      if (kind.precision != DType::f32) continue;
      if (last.empty()) last = after.back()->values;
      std::map<std::string, std::vector<float>> here, there;
      for (const auto& [name, values] : last) {
        if (name.starts_with("optimizer.")) continue;
        here[name] = after.back()->values.at(name);
        there[name] = values;
      }
      std::string worst;
      EXPECT_LT(largest_difference(here, there, worst), 1e-3) << worst;
    }
  }
}

TEST(Pruning, KeepsTheZerosThatTrainingBeginsWith) {
  PrunedRun run{.prune = {.keeps_zeros = true}};
  const auto begin = [](TrainingSession& session) {
    session.storage().set(session.context(), [&](const Parameter& p, const Tensor& t) {
      std::vector<float> values(static_cast<size_t>(t.numel()));
      for (size_t i = 0; i < values.size(); ++i) {
        const int64_t global = global_index(p, static_cast<int64_t>(i));
        values[i] = global % 3 == 0 ? 0.0f : 0.01f * static_cast<float>(global % 17 - 8) + 0.003f;
      }
      ops::write(session.context(), values, t);
      return true;
    });
  };
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 1}, ParallelPlan{.data = 2, .tensor = 2, .zero_stage = 3}}) {
    run.plan = plan;
    Whole whole;
    on_ranks(run, [&](Communicator&, TrainingSession& session) {
      begin(session);
      train(session, 3);
      whole.add(session);
    });
    expect_zero(whole);
    EXPECT_EQ(whole.zeros("layers.0.ffn.gate.weight"), 24 * 40 / 3);
    EXPECT_EQ(whole.zeros("embedding.tokens.weight"), 0);
    const auto& w = whole.values.at("layers.0.ffn.gate.weight");
    EXPECT_EQ(std::ranges::count(w, 0.0f), 24 * 40 / 3);
  }
}

// An update whose norm is not finite changes nothing, and what it should have chosen the next one does.
TEST(Pruning, AHaltedUpdateChoosesNothing) {
  const PrunedRun run{.prune = {.sparsity = 0.5, .start_step = 1, .end_step = 1}};
  on_ranks(run, [&](Communicator&, TrainingSession& session) {
    TrainingStep& step = session.step();
    std::vector<int32_t> ids(kSeqLen, 1);
    MicroBatch batch = make_micro_batch(session.context(), 1, kSeqLen, ids, ids, session.share());
    step.apply(step.forward_backward({&batch, 1}, INFINITY), 1e-2);
    EXPECT_EQ(step.pruner()->part_zero(), 0);
    step.skip(step.forward_backward({&batch, 1}));
    EXPECT_EQ(step.pruner()->part_zero(), 0);
    train(session, 1);
    EXPECT_EQ(step.pruner()->part_zero(), 0.5);
  });
}

}  // namespace
}  // namespace trireme::test
