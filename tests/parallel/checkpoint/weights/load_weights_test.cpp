// Weights and balancing biases of a file: the same model in every layout, and a dense model made a mixture.
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/own_weights.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "parallel/checkpoint/weights/initial_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

// The model of one rank with weights that are not those of another seed.
struct Rank {
  Rank(Communicator& world, const ModelConfig& config, ParallelPlan plan, uint64_t seed,
       DType precision = DType::f32)
      : session(ctx, world, with_small_buckets(std::move(plan)), config,
                {.max_seq_len = 8, .precision = precision, .seed = seed}) {}
  static ParallelPlan with_small_buckets(ParallelPlan plan) {
    plan.bucket_mib = in_mib(4000);
    return plan;
  }
  void save(const std::string& path) { session.save(path); }
  void load(const std::string& path, bool upcycle = false) {
    load_weights(ctx, session.checkpointed(), path, upcycle);
  }

  Context ctx;
  TrainingSession session;
};

ModelConfig mixture(double bias_rate = 0.01) {
  ModelConfig config = tiny_model(ModelFamily::llama);
  config.moe = {.num_experts = 4, .expert_ffn_size = 12, .first_block = 1, .bias_rate = bias_rate};
  return config;
}

void set_biases(Rank& rank) {
  for (RouterBalance* router : rank.session.part().routers()) {
    for (size_t e = 0; e < router->bias.size(); ++e)
      router->bias[e] = static_cast<float>(router->layer) + 0.25f * static_cast<float>(e);
  }
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A file of a model with biases, made on one rank.
std::string one_rank_file(const TemporaryFolder& folder, const ModelConfig& config) {
  const auto self = make_self_communicator();
  Rank rank(*self, config, {}, 3);
  set_biases(rank);
  rank.save(folder.path("one.safetensors"));
  return folder.path("one.safetensors");
}

Tensor logits(Rank& rank) {
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6};
  return rank.session.model().logits(rank.ctx, make_micro_batch(rank.ctx, 1, 8, tokens, {}));
}

TEST(LoadWeights, EveryLayoutReadsAndWritesTheSameFile) {
  const TemporaryFolder folder;
  const std::string file = one_rank_file(folder, mixture());
  const SafetensorsReader reader(file);
  EXPECT_FALSE(reader.tensors().contains("layers.0.ffn.router.bias"));
  EXPECT_EQ(reader.at("layers.2.ffn.router.bias").shape, (Shape{4}));
  const ParallelPlan plans[] = {{.data = 2, .expert = 2},
                                {.tensor = 2, .pipeline = 2},
                                {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1},
                                {.data = 2, .tensor = 4, .expert = 2, .expert_tensor = 2, .zero_stage = 1},
                                {.data = 2, .tensor = 2, .expert = 2, .sequence = true},
                                {.data = 2, .pipeline = 2, .expert = 2, .zero_stage = 3}};
  for (const ParallelPlan& plan : plans) {
    run_thread_ranks(std::max(1, plan.data) * plan.ranks_per_replica(), [&](Communicator& world) {
      Rank rank(world, mixture(), plan, 4);
      rank.load(file);
      for (const RouterBalance* router : rank.session.part().routers())
        EXPECT_EQ(router->bias[3], static_cast<float>(router->layer) + 0.75f);
      rank.save(folder.path("again.safetensors"));
    });
    EXPECT_EQ(bytes_of(folder.path("again.safetensors")), bytes_of(file));
  }
}

TEST(LoadWeights, SharedLayersAreInTheFileOnceAndRoutersOfEachLayer) {
  const TemporaryFolder folder;
  ModelConfig config = mixture();
  config.moe.first_block = 0;
  config.num_layers = 5;
  config.share = 2;
  config.tied_embeddings = true;
  const std::string file = one_rank_file(folder, config);
  const SafetensorsReader reader(file);
  int num_matrices = 0;
  for (const auto& [name, tensor] : reader.tensors()) {
    if (name.ends_with(".router.bias")) continue;
    EXPECT_FALSE(name.starts_with("layers.") && name[7] > '1') << name;
    num_matrices += name.ends_with("router.weight") ? 1 : 0;
  }
  EXPECT_EQ(num_matrices, 2);
  EXPECT_EQ(reader.at("layers.4.ffn.router.bias").shape, (Shape{4}));
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 2, .pipeline = 2, .expert = 2, .zero_stage = 3},
        {.data = 1, .tensor = 2, .pipeline = 4},
        {.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 3},
        {.data = 2, .expert = 2, .zero_stage = 2}}) {
    run_thread_ranks(plan.world_size(), [&](Communicator& world) {
      Rank rank(world, config, plan, 4);
      rank.load(file);
      for (const RouterBalance* router : rank.session.part().routers())
        EXPECT_EQ(router->bias[3], static_cast<float>(router->layer) + 0.75f);
      rank.save(folder.path("again.safetensors"));
    });
    EXPECT_EQ(bytes_of(folder.path("again.safetensors")), bytes_of(file));
  }
}

TEST(LoadWeights, BiasesChooseAlsoWhereTheyAreNoLongerMoved) {
  const TemporaryFolder folder;
  const std::string file = one_rank_file(folder, mixture());
  const auto self = make_self_communicator();
  Rank moving(*self, mixture(), {}, 4), still(*self, mixture(0), {}, 5);
  moving.load(file);
  const auto without = to_vector(logits(still));
  still.load(file);
  EXPECT_EQ(to_vector(logits(still)), to_vector(logits(moving)));
  for (RouterBalance* router : still.session.part().routers()) router->bias.clear();
  EXPECT_NE(to_vector(logits(still)), to_vector(logits(moving)));
  EXPECT_NE(to_vector(logits(still)), without);
}

TEST(LoadWeights, AMixtureMadeOfADenseModelBeginsAsThatModel) {
  const TemporaryFolder folder;
  const ModelConfig dense = tiny_model(ModelFamily::llama);
  const std::string file = one_rank_file(folder, dense);
  const auto self = make_self_communicator();
  Rank original(*self, dense, {}, 3);
  const auto expected = to_vector(logits(original));
  for (const int64_t k : {2, 3}) {
    ModelConfig config = dense;
    config.moe = {.num_experts = 4, .experts_per_token = k, .every = 2};
    for (const ParallelPlan& plan : {ParallelPlan{.data = 1},
                                     {.data = 2, .expert = 2},
                                     {.data = 1, .tensor = 2, .pipeline = 2},
                                     {.data = 2, .expert = 2, .zero_stage = 3}}) {
      run_thread_ranks(plan.world_size(), [&](Communicator& world) {
        Rank rank(world, config, plan, 8);
        rank.load(file, true);
        const auto values = to_vector(logits(rank));
        ASSERT_EQ(values.size(), expected.size());
        for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected[i], 2e-6) << i;
      });
    }
  }
}

// Saves the state of a rank as a checkpoint of step 1, the only rank's of its world.
std::string checkpoint_of(Rank& rank, Communicator& world, const TemporaryFolder& folder) {
  FileCalls kernel;
  Snapshot snapshot;
  snapshot.take(0, rank.session.state_slices());
  CommitRequest request{folder.path(), {}, {}};
  request.state.step = 1;
  commit_checkpoint(kernel, world, request,
                    [&](const std::string& to) { return snapshot.write(kernel, to); });
  return folder.path(checkpoint_name(1));
}

TEST(LoadWeights, AMixtureIsMadeOfADenseCheckpointAsOfItsFile) {
  const TemporaryFolder folder, checkpoints;
  const ModelConfig dense = tiny_model(ModelFamily::llama);
  const std::string file = one_rank_file(folder, dense);
  const auto self = make_self_communicator();
  Rank original(*self, dense, {}, 3);
  const std::string checkpoint = checkpoint_of(original, *self, checkpoints);
  ModelConfig config = dense;
  config.moe = {.num_experts = 4, .experts_per_token = 2, .every = 2};
  for (const DType precision : {DType::f32, DType::bf16}) {
    for (const ParallelPlan& plan : {ParallelPlan{.data = 1},
                                     {.data = 1, .tensor = 2, .pipeline = 2},
                                     {.data = 2, .expert = 2, .zero_stage = 3}}) {
      run_thread_ranks(plan.world_size(), [&](Communicator& world) {
        Rank of_file(world, config, plan, 8, precision), of_checkpoint(world, config, plan, 8, precision);
        of_file.load(file, true);
        load_initial_weights(of_checkpoint.ctx, of_checkpoint.session.parallel(),
                             of_checkpoint.session.checkpointed(), checkpoint, true);
        EXPECT_EQ(to_vector(logits(of_checkpoint)), to_vector(logits(of_file)));
        for (size_t i = 0; i < of_file.session.storage().parameters().size(); ++i) {
          const ParameterView &a = of_file.session.storage().parameters()[i],
                              &b = of_checkpoint.session.storage().parameters()[i];
          EXPECT_EQ(to_vector(a.master), to_vector(b.master)) << a.parameter->name;
        }
      });
    }
  }
}

TEST(LoadWeights, WhatDoesNotFitInACheckpointIsNamed) {
  const TemporaryFolder checkpoints;
  const ModelConfig dense = tiny_model(ModelFamily::llama);
  const auto self = make_self_communicator();
  Rank original(*self, dense, {}, 3);
  const std::string checkpoint = checkpoint_of(original, *self, checkpoints);
  const auto expect = [&](const ModelConfig& config, bool upcycle,
                          std::initializer_list<std::string_view> parts) {
    Rank rank(*self, config, {}, 8);
    expect_error(ExitCode::bad_input, parts, [&] {
      load_initial_weights(rank.ctx, rank.session.parallel(), rank.session.checkpointed(), checkpoint,
                           upcycle);
    });
  };
  ModelConfig other = dense;
  other.num_layers = 2;
  expect(other, false, {checkpoint, "the model has no parameter layers.2."});
  other = dense;
  other.moe.num_experts = 4;
  expect(other, false, {"is missing", "--moe.upcycle"});
  other.moe.expert_ffn_size = 20;
  expect(other, true, {"layers.0.ffn.gate.weight is [40, 24], in the model [20, 24]"});
}

TEST(LoadWeights, UpcyclingLeavesTheRoutersOfTheSeed) {
  const TemporaryFolder folder;
  const ModelConfig dense = tiny_model(ModelFamily::llama);
  const std::string file = one_rank_file(folder, dense);
  ModelConfig config = dense;
  config.moe.num_experts = 4;
  const auto self = make_self_communicator();
  Rank fresh(*self, config, {}, 8), upcycled(*self, config, {}, 8);
  upcycled.load(file, true);
  int num_routers = 0;
  for (size_t i = 0; i < fresh.session.storage().parameters().size(); ++i) {
    const ParameterView &a = fresh.session.storage().parameters()[i],
                        &b = upcycled.session.storage().parameters()[i];
    if (!a.parameter->name.ends_with(".router.weight")) continue;
    ++num_routers;
    EXPECT_EQ(to_vector(a.master), to_vector(b.master));
  }
  EXPECT_EQ(num_routers, 3);
}

TEST(LoadWeights, WhatDoesNotFitIsNamed) {
  const TemporaryFolder folder;
  const ModelConfig dense = tiny_model(ModelFamily::llama);
  const std::string file = one_rank_file(folder, dense), of_mixture = folder.path("mixture.safetensors");
  const auto self = make_self_communicator();
  { Rank(*self, mixture(), {}, 3).save(of_mixture); }
  const auto expect = [&](const ModelConfig& config, const std::string& path, bool upcycle,
                          std::initializer_list<std::string_view> parts) {
    Rank rank(*self, config, {}, 8);
    expect_error(ExitCode::bad_input, parts, [&] { rank.load(path, upcycle); });
  };
  ModelConfig other = dense;
  other.vocab_size = 41;
  expect(other, file, false, {file, "[37, 24], in the model [41, 24]"});
  other = dense;
  other.num_layers = 2;
  expect(other, file, false, {"no parameter layers.2."});
  other = dense;
  other.moe.num_experts = 4;
  expect(other, file, false, {"is missing", "more", "--moe.upcycle"});
  other.moe.expert_ffn_size = 20;
  expect(other, file, true, {"layers.0.ffn.gate.weight is [40, 24], in the model [20, 24]"});
  other.moe = {.num_experts = 4, .shared_ffn_size = 8};
  expect(other, file, true, {"ffn.shared", "no shared expert"});
  expect(mixture(), of_mixture, true, {"layers.1.ffn.gate.weight is missing"});
  ModelConfig gpt2 = tiny_model(ModelFamily::gpt2);
  const std::string with_biases = one_rank_file(folder, gpt2);
  gpt2.moe.num_experts = 4;
  expect(gpt2, with_biases, true, {"no parameter layers.0.ffn.down.bias", "no biases there"});
}

TEST(LoadWeights, BiasesOfAnotherNumberOfExpertsAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path("biases.safetensors");
  {
    const std::vector<float> values(6, 0.5f);
    SafetensorsWriter writer(path, {{"layers.1.ffn.router.bias", DType::f32, {6}}});
    writer.write("layers.1.ffn.router.bias", std::as_bytes(std::span(values)));
    writer.commit();
  }
  const auto self = make_self_communicator();
  Rank rank(*self, mixture(), {}, 8);
  expect_error(ExitCode::bad_input, {"router.bias is [6] of f32, in the model [4]"},
               [&] { load_router_biases(*open_own_weights(path), rank.session.checkpointed()); });
}

}  // namespace
}  // namespace trireme::test
