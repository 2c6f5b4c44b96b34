// Checkpoints of trainings through quantization: learned scales and their moments, in any layout.
#include <map>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/load/resume.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/parameter_blocks.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using Values = std::map<std::string, std::vector<float>>;

ModelConfig model_with_learned_scales() {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.num_layers = 2;
  model.hidden_size = 64;
  model.ffn_size = 128;
  model.moe.num_experts = 2;
  model.moe.first_block = 1;
  model.quantization = {.weights = {ops::PackedFormat::int4, 32}, .learned_scales = true};
  return model;
}

void train(TrainingSession& session, int steps) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < 14; ++i) {
    tokens.push_back(i * 5 % 37);
    targets.push_back((i * i + 3) % 37);
  }
  for (int step = 0; step < steps; ++step) {
    MicroBatch batch = make_micro_batch(session.context(), 2, 7, tokens, targets, session.share());
    session.step().apply(session.step().forward_backward({&batch, 1}), 1e-2);
  }
}

/// Whole parameters of the model, together from all ranks.
class Gathered {
 public:
  void add(TrainingSession& session) {
    for (size_t chunk = 0; chunk < session.part().chunks.size(); ++chunk) {
      session.step().for_each_parameter(
          chunk, ParameterState::master, [&](const Parameter& p, const Tensor& t) {
            const std::vector<float> part = to_vector(t);
            const std::lock_guard lock(mutex_);  // ranks call each other between these calls
            std::vector<float>& whole = values[p.name];
            whole.resize(static_cast<size_t>(p.global_shape.numel()));
            for_each_element(p, [&](size_t i, size_t global) { whole[global] = part[i]; });
          });
    }
  }
  Values values;

 private:
  std::mutex mutex_;
};

using WithSession = std::function<void(Communicator&, TrainingSession&)>;
void on_ranks(const ParallelPlan& plan, const ModelConfig& model, const std::string& weights,
              const WithSession& use) {
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    TrainingSession session(ctx, world, plan, model, {.max_seq_len = 8, .seed = 3, .weights = weights});
    use(world, session);
  });
}

void save(Communicator& world, TrainingSession& session, const std::string& folder) {
  FileCalls kernel;
  Snapshot snapshot;
  snapshot.take(world.rank(), session.state_slices());
  CommitRequest request{folder, {}, {}};
  request.state.step = 1;
  request.state.updates = 2;
  commit_checkpoint(kernel, world, request,
                    [&](const std::string& to) { return snapshot.write(kernel, to); });
}

void load(Communicator& world, TrainingSession& session, const std::string& folder) {
  const std::string place = folder + "/" + checkpoint_name(1);
  session.load_checkpoint(place, read_manifest_together(world, place), LoadedState::all);
}

TEST(QuantizedCheckpoint, LearnedScalesGoFromLayoutToLayoutAndOn) {
  const ModelConfig model = model_with_learned_scales();
  const ParallelPlan layouts[] = {{.data = 1},
                                  {.data = 2, .zero_stage = 3, .bucket_mib = in_mib(3000)},
                                  {.data = 1, .tensor = 2},
                                  {.data = 2, .expert = 2, .zero_stage = 1}};
  const TemporaryFolder folder;
  Gathered saved, went_on;
  on_ranks(layouts[0], model, "", [&](Communicator& world, TrainingSession& session) {
    train(session, 2);
    saved.add(session);
    save(world, session, folder.path("0"));
    train(session, 1);
    went_on.add(session);
  });
  EXPECT_NE(saved.values.at("layers.1.ffn.experts.1.down.weight_scale"),
            went_on.values.at("layers.1.ffn.experts.1.down.weight_scale"));
  std::string from = folder.path("0");
  for (const ParallelPlan& plan : layouts) {
    const std::string to = folder.path(fmt::format("{}{}{}", plan.tensor, plan.expert, plan.zero_stage));
    Gathered loaded;
    on_ranks(plan, model, "", [&](Communicator& world, TrainingSession& session) {
      load(world, session, from);
      loaded.add(session);
      save(world, session, to);
    });
    EXPECT_EQ(loaded.values, saved.values);
    from = to;
  }
  Gathered resumed;
  on_ranks(layouts[0], model, "", [&](Communicator& world, TrainingSession& session) {
    load(world, session, from);
    train(session, 1);
    resumed.add(session);
  });
  EXPECT_EQ(resumed.values, went_on.values) << "moments too";
}

// Of a training without quantization: scales are measured; of one with learned ones: without them where the
// model learns none.
TEST(QuantizedCheckpoint, InitialWeightsMayLackScalesOrHaveThemInExcess) {
  const ModelConfig learned = model_with_learned_scales();
  ModelConfig plain = learned;
  plain.quantization = {};
  const TemporaryFolder folder;
  Gathered of_plain, of_learned, fresh, back;
  on_ranks({.data = 1}, plain, "", [&](Communicator& world, TrainingSession& session) {
    of_plain.add(session);
    save(world, session, folder.path("plain"));
  });
  on_ranks({.data = 1}, learned, "", [&](Communicator&, TrainingSession& session) { fresh.add(session); });
  const std::string file = folder.path("model.safetensors");
  on_ranks({.data = 2, .zero_stage = 3}, learned, folder.path("plain") + "/" + checkpoint_name(1),
           [&](Communicator&, TrainingSession& session) {
             of_learned.add(session);
             session.save(file);
           });
  EXPECT_EQ(of_learned.values, fresh.values);
  for (const auto& [name, values] : of_learned.values) {
    for (const float value : values) ASSERT_NE(value, kUnmeasuredScale) << name;
  }
  on_ranks({.data = 1}, plain, file, [&](Communicator&, TrainingSession& session) { back.add(session); });
  EXPECT_EQ(back.values, of_plain.values);
  Gathered again;
  on_ranks({.data = 1}, learned, file, [&](Communicator&, TrainingSession& session) { again.add(session); });
  EXPECT_EQ(again.values, of_learned.values);
}

}  // namespace
}  // namespace trireme::test
