// Where the calls of a training step come from, as its recorder has them: phase, micro-batch and layer, in
// layouts of several axes; ranks of a stage make equal calls from equal places.
#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme::test {
namespace {

constexpr int kLayers = 4;

ModelConfig small_model() {
  ModelConfig model;
  model.num_layers = kLayers;
  model.hidden_size = 16;
  model.num_heads = model.num_kv_heads = 2;
  model.ffn_size = 32;
  model.vocab_size = 37;
  model.max_positions = 8;
  return model;
}

/// The same calls, whatever times they were made and carried out at.
using Calls = std::vector<std::tuple<int64_t, CommKind, int64_t, Phase, int32_t, int32_t>>;

Calls collectives_of(const CommHistory& history) {
  Calls calls;
  for (const CallRecord& c : history.calls) {
    if (!is_point_to_point(c.kind))
      calls.emplace_back(c.sequence, c.kind, c.count, c.site.phase, c.site.micro_batch, c.site.layer);
  }
  return calls;
}

/// Of every rank, after one step and an evaluation, whose calls are all checked.
std::vector<std::vector<CommHistory>> record_step(const ParallelPlan& plan, int num_ranks) {
  std::vector<std::vector<CommHistory>> all(static_cast<size_t>(num_ranks));
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    Recorder recorder(4096);
    world.set_recorder(&recorder);
    world.set_call_check(CallCheck::step);
    {
      Context ctx;
      TrainingSession session(ctx, world, plan, small_model(), {.max_seq_len = 8, .seed = 1});
      recorder.set_step(3);
      const std::vector<int32_t> tokens(8, 5);
      std::vector<MicroBatch> batches;
      for (int i = 0; i < 2; ++i)
        batches.push_back(make_micro_batch(ctx, 1, 8, tokens, tokens, session.share()));
      session.step().apply(session.step().forward_backward(batches), 1e-3);
      EXPECT_EQ(recorder.site(), (CallSite{Phase::update, 3, -1, -1}));
      (void)session.step().evaluate(batches);
      all[static_cast<size_t>(world.rank())] = recorder.history();
    }
    world.set_recorder(nullptr);
  });
  return all;
}

/// The calls of the groups of this name that `is_in` holds for, of all ranks.
template <class IsIn>
std::vector<CallRecord> calls_of(const std::vector<std::vector<CommHistory>>& all, std::string_view group,
                                 const IsIn& is_in) {
  std::vector<CallRecord> found;
  for (const auto& histories : all) {
    for (const CommHistory& history : histories) {
      if (history.name != group) continue;
      for (const CallRecord& call : history.calls) {
        if (is_in(call)) found.push_back(call);
      }
    }
  }
  return found;
}

void expect_equal_calls_of_stages(const std::vector<std::vector<CommHistory>>& all) {
  std::map<uint64_t, Calls> of_group;
  for (const auto& histories : all) {
    for (const CommHistory& history : histories) {
      if (history.name == "pipeline" || history.name == "world" || history.name == "shared-weights") continue;
      const auto [it, is_new] = of_group.emplace(history.id, collectives_of(history));
      EXPECT_TRUE(is_new || it->second == collectives_of(history)) << history.name;
    }
  }
}

TEST(RecordedStep, TensorPipelineAndDataRanksSayWhereTheyAre) {
  const auto all = record_step({.data = 2, .tensor = 2, .pipeline = 2}, 8);
  expect_equal_calls_of_stages(all);
  for (const Phase phase : {Phase::forward, Phase::backward}) {
    const auto tensor = calls_of(all, "tensor", [&](const CallRecord& c) {
      return c.kind == CommKind::all_reduce && c.site.phase == phase && c.site.layer >= 0;
    });
    std::set<int32_t> layers, micro_batches;
    for (const CallRecord& c : tensor) {
      layers.insert(c.site.layer);
      micro_batches.insert(c.site.micro_batch);
      EXPECT_EQ(c.site.step, 3);
      EXPECT_GT(c.ended_ns, 0);
    }
    // Every layer, of either stage, and the head.
    for (int layer = 0; layer < kLayers; ++layer) EXPECT_TRUE(layers.contains(layer)) << layer;
    EXPECT_EQ(micro_batches, (std::set<int32_t>{0, 1}));
  }
  const auto messages = calls_of(all, "pipeline", [](const CallRecord& c) {
    return is_point_to_point(c.kind) && (c.site.phase == Phase::forward || c.site.phase == Phase::backward);
  });
  EXPECT_EQ(messages.size(), 8u * 2 * 2);  // a rank sends or receives one of either kind for each micro-batch
  for (const CallRecord& c : messages) {
    const bool is_forward = c.site.phase == Phase::forward;
    EXPECT_EQ(std::string_view(c.label),
              fmt::format("{} {}.0", is_forward ? "activation" : "gradient", c.site.micro_batch));
  }
  EXPECT_FALSE(calls_of(all, "pipeline", [](const CallRecord& c) {
                 return c.kind == CommKind::receive && c.site.phase == Phase::evaluation &&
                        c.site.micro_batch == 1;
               }).empty());
}

TEST(RecordedStep, ReductionsBesideTheBackwardPassKeepTheirLayer) {
  const auto all = record_step({.data = 2, .bucket_mib = 1e-3}, 2);
  expect_equal_calls_of_stages(all);
  std::set<int32_t> layers;
  for (const CallRecord& c : calls_of(all, "data+context", [](const CallRecord& call) {
         return call.kind == CommKind::all_reduce && call.site.phase == Phase::backward;
       })) {
    layers.insert(c.site.layer);
    EXPECT_EQ(c.site.micro_batch, 1);  // the last one completes them
  }
  for (int layer = 0; layer < kLayers; ++layer) EXPECT_TRUE(layers.contains(layer)) << layer;
}

TEST(RecordedStep, GathersOfShardedWeightsHaveTheirPhases) {
  const auto all = record_step({.data = 2, .zero_stage = 3}, 2);
  expect_equal_calls_of_stages(all);
  for (const Phase phase : {Phase::forward, Phase::backward, Phase::evaluation}) {
    EXPECT_FALSE(
        calls_of(all, "data+context",
                 [&](const CallRecord& c) { return c.kind == CommKind::all_gather && c.site.phase == phase; })
            .empty())
        << to_string(phase);
  }
}

}  // namespace
}  // namespace trireme::test
