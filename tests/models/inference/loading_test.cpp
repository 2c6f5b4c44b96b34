// Weights of every kind of file in models that are only read, in every layout: the logits are a training's.
#include <filesystem>

#include "models/formats/open_weights.h"
#include "tests/models/formats/hf_directory.h"
#include "tests/models/formats/published_configs.h"
#include "tests/models/inference/loading.h"

namespace trireme::test {
namespace {

ModelConfig mixture() {
  ModelConfig config = tiny_model(ModelFamily::llama);
  config.moe = {
      .num_experts = 4, .expert_ffn_size = 12, .shared_ffn_size = 16, .first_block = 1, .bias_rate = 0.01};
  return config;
}

/// Sizes that three tensor-parallel ranks share unequally.
ModelConfig of_six_heads() {
  ModelConfig config = tiny_model(ModelFamily::llama);
  config.num_heads = 6;
  config.num_kv_heads = 3;
  return config;
}

/// One rank has a training's bits, the others its numbers.
void expect_logits(const std::string& path, const ModelConfig& config, const std::vector<ParallelPlan>& plans,
                   const std::vector<float>& expected) {
  const auto self = make_self_communicator();
  Context ctx;
  InferenceModel alone(ctx, *self, path, config, {});
  EXPECT_EQ(logits_of(ctx, alone.model()), expected) << path;
  for (const ParallelPlan& plan : plans) {
    SCOPED_TRACE(
        fmt::format("{}: tensor {} pipeline {} expert {}", path, plan.tensor, plan.pipeline, plan.expert));
    run_thread_ranks(plan.world_size(), [&](Communicator& world) {
      Context own;
      InferenceModel part(own, world, path, config, {.plan = plan});
      expect_near(logits_of(own, part.model()), expected, 1e-5);
    });
  }
}

TEST(Loading, OwnFilesInEveryLayout) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama, ModelFamily::gemma2,
                                   ModelFamily::qwen3, ModelFamily::neox, ModelFamily::olmo2}) {
    const TemporaryFolder folder;
    const ModelConfig config = tiny_model(family);
    const std::string file = saved_file(folder, config);
    expect_logits(file, config, {{.data = 1, .tensor = 2}, {.data = 1, .tensor = 2, .pipeline = 2}},
                  trained_logits("", config));
  }
}

TEST(Loading, UnequalSharesAndPipelines) {
  const TemporaryFolder folder;
  for (const bool tied : {false, true}) {
    ModelConfig config = of_six_heads();
    config.tied_embeddings = tied;
    const std::string file = saved_file(folder, config);
    expect_logits(file, config,
                  {{.data = 1, .tensor = 3},
                   {.data = 1, .pipeline = 2},
                   {.data = 1, .tensor = 3, .sequence = true},
                   {.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 2}},
                  trained_logits("", config));
  }
}

TEST(Loading, SharedWeightsAreLoadedOnce) {
  const TemporaryFolder folder;
  ModelConfig config = tiny_model(ModelFamily::llama);
  config.num_layers = 4;
  config.weights_from = {0, 0, 2, 0};
  expect_logits(saved_file(folder, config), config, {{.data = 1, .pipeline = 2}}, trained_logits("", config));
}

TEST(Loading, Experts) {
  const TemporaryFolder folder;
  const ModelConfig config = mixture();
  expect_logits(saved_file(folder, config), config,
                {{.data = 2, .expert = 2},
                 {.data = 2, .expert = 2, .expert_chunks = 2},
                 {.data = 1, .tensor = 2},
                 {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1},
                 {.data = 2, .pipeline = 2, .expert = 2}},
                trained_logits("", config));
}

TEST(Loading, CheckpointsOfAnyLayout) {
  const ModelConfig dense = tiny_model(ModelFamily::llama), experts = mixture();
  struct Case {
    const ModelConfig& config;
    ParallelPlan saved;
  };
  for (const Case& c : {Case{dense, {.data = 1}}, Case{dense, {.data = 3, .zero_stage = 1}},
                        Case{dense, {.data = 1, .tensor = 2, .pipeline = 2}},
                        Case{dense, {.data = 2, .tensor = 2, .zero_stage = 3}},
                        Case{experts, {.data = 2, .expert = 2, .zero_stage = 1}}}) {
    const TemporaryFolder folder;
    const std::string checkpoint = saved_checkpoint(folder.path("checkpoints"), c.config, c.saved);
    const std::vector<float> expected = trained_logits("", c.config);
    expect_logits(checkpoint, c.config, {{.data = 1, .tensor = 2}, {.data = 1, .pipeline = 2}}, expected);
    expect_logits(folder.path(), c.config, {}, expected);  // as a run's directory
  }
}

TEST(Loading, CheckpointsOfWeightsIn16Bits) {
  const ModelConfig config = tiny_model(ModelFamily::llama);
  const TemporaryFolder folder;
  const std::string checkpoint =
      saved_checkpoint(folder.path(), config, {.data = 2, .zero_stage = 2}, DType::bf16, false);
  expect_logits(checkpoint, config, {{.data = 1, .tensor = 2}}, trained_logits(checkpoint, config));
  const auto self = make_self_communicator();
  Context ctx;
  EXPECT_EQ(InferenceModel(ctx, *self, checkpoint, config, {}).loaded().formats, "bf16");
}

TEST(Loading, DirectoriesOfTransformers) {
  for (const char* text : {kGpt2, kLlama32, kQwen25, kMixtral}) {
    const HfDirectory directory(text);
    directory.write_one();
    SCOPED_TRACE(directory.model.architecture);
    ModelConfig config = directory.model.config;
    config.max_positions = std::min<int64_t>(config.max_positions, 64);
    const std::vector<float> expected = trained_logits(directory.folder.path(), directory.model.config);
    // What the caller takes the model for does not count where the files say it.
    expect_logits(directory.folder.path(), tiny_model(ModelFamily::olmo2), {{.data = 1, .tensor = 2}},
                  expected);
    const auto self = make_self_communicator();
    Context ctx;
    InferenceModel model(ctx, *self, directory.folder.path(), {}, {});
    EXPECT_EQ(model.loaded().formats, "bf16");
    EXPECT_EQ(
        model.loaded().file_bytes, 2 * [&] {
          int64_t numel = 0;
          for (const Parameter& p : parameters_of(directory.model.config)) numel += p.global_shape.numel();
          return numel;
        }());
  }
}

TEST(Loading, InTheComputeTypeAsATrainingHasIt) {
  const TemporaryFolder folder;
  for (const DType type : {DType::bf16, DType::f16}) {
    const ModelConfig config = mixture();
    const std::string file = saved_file(folder, config);
    const auto self = make_self_communicator();
    Context ctx;
    InferenceModel model(ctx, *self, file, config, {.compute_type = type});
    EXPECT_EQ(model.loaded().formats, type == DType::bf16 ? "bf16" : "f16");
    TrainingSession session(ctx, *self, {}, config, {.max_seq_len = 8, .precision = type, .seed = 3});
    const auto held = held_values(ctx, model.model());
    for (const ParameterBlock* block : session.part().blocks()) {
      const std::vector<float> values = ops::to_host_f32(ctx, block->weight);
      auto at = values.begin();
      for (const Parameter& p : block->members) {
        EXPECT_TRUE(std::equal(held.at(p.name).begin(), held.at(p.name).end(), at)) << p.name;
        at += p.shape.numel();
      }
    }
    EXPECT_EQ(logits_of(ctx, model.model()), logits_of(ctx, session.model()));
  }
}

TEST(Loading, NoThreadChangesABit) {
  const HfDirectory directory(kGpt2);  // transposed in its file
  directory.write_one();
  const TemporaryFolder folder;
  const ModelConfig config = mixture();
  const std::string checkpoint = saved_checkpoint(folder.path(), config, {.data = 3, .zero_stage = 1});
  const auto self = make_self_communicator();
  for (const std::string& path : {directory.folder.path(), checkpoint}) {
    std::vector<float> expected;
    for (const int num_threads : {1, 3}) {
      Context ctx(Device{}, num_threads, {});
      InferenceModel model(ctx, *self, path, config, {});
      const std::vector<float> logits = logits_of(ctx, model.model());
      if (num_threads == 1) expected = logits;
      EXPECT_EQ(logits, expected);
    }
  }
}

TEST(Loading, HoldsNoMoreThanItsWeights) {
  const TemporaryFolder folder;
  const ModelConfig config = tiny_model(ModelFamily::llama);
  const std::string file = saved_file(folder, config);
  const auto self = make_self_communicator();
  Context ctx;
  const InferenceModel model(ctx, *self, file, config, {});
  const MemoryStats stats = ctx.allocator().stats();
  EXPECT_EQ(stats.by_category[static_cast<size_t>(MemoryCategory::gradients)].peak, 0);
  EXPECT_EQ(stats.by_category[static_cast<size_t>(MemoryCategory::optimizer)].peak, 0);
  EXPECT_GT(model.loaded().weight_bytes, 0);
  EXPECT_EQ(model.loaded().formats, "f32");
}

}  // namespace
}  // namespace trireme::test
