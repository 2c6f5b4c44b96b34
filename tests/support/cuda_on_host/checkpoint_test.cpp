// Checkpoints of a training on the tests' device, a GPU or the host's stand-in for one: copied to pinned
// memory beside the steps that follow.
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/save/checkpoint_saver.h"
#include "parallel/checkpoint/vote.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/small_training.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

/// A training that saves. On a GPU its steps are given to the device while the copies of a save are made.
class SavedTraining {
 public:
  SavedTraining(Communicator& world, const ParallelPlan& plan, std::string folder, bool use_graph)
      : world_(world),
        session_(ctx_, world, plan, tiny_model(ModelFamily::llama),
                 {.max_seq_len = 8, .precision = DType::bf16, .seed = 7, .step = {.use_graph = use_graph}}),
        folder_(std::move(folder)),
        saver_(kernel_, world.split(0, world.rank(), "checkpoints"), ctx_.device()) {}

  void step() {
    std::vector<MicroBatch> batches = {batch_of(ctx_, session_.share(), steps_++)};
    PendingStep pending = session_.step().forward_backward(batches);
    saver_.release(ctx_.stream());
    session_.step().apply(std::move(pending), 1e-2);
  }
  void save() {
    CommitRequest request;
    request.directory = folder_;
    request.state.step = steps_;
    request.retention.keep = 100;
    saver_.save(request, session_.state_slices(), ctx_.stream());
  }
  void finish() { saver_.wait(); }
  ProofHash proof() { return sum_over_ranks(world_, proof_of(ctx_, session_.state_slices())); }
  void load(int64_t step) {
    const std::string path = folder_ + "/" + checkpoint_name(step);
    session_.load_checkpoint(path, read_manifest(path), LoadedState::all);
  }

 private:
  Communicator& world_;
  Context ctx_{test_device(), 1, test_settings()};
  TrainingSession session_;
  std::string folder_;
  FileCalls kernel_;
  CheckpointSaver saver_;
  int64_t steps_ = 0;
};

/// Saves behind each step of a run that waits for nothing, against the hashes of one that waits behind each.
void expect_saves_are_states(int num_ranks, const ParallelPlan& plan, bool use_graph) {
  constexpr int64_t kSteps = 6;
  const TemporaryFolder folder;
  const auto body = [&](Communicator& world) {
    std::vector<ProofHash> expected;
    {
      SavedTraining training(world, plan, folder.path(), use_graph);
      for (int64_t i = 0; i < kSteps; ++i) {
        training.step();
        expected.push_back(training.proof());
      }
    }
    SavedTraining training(world, plan, folder.path(), use_graph);
    for (int64_t i = 0; i < kSteps; ++i) {
      training.step();
      training.save();
    }
    training.step();
    training.finish();
    EXPECT_NE(expected[0], expected[1]);
    for (int64_t i = 0; i < kSteps; ++i) {
      const std::string path = folder.path(checkpoint_name(i + 1));
      EXPECT_EQ(read_manifest(path).proof, expected[static_cast<size_t>(i)]) << i;
      if (world.rank() == 0) {
        EXPECT_THAT(find_damage(path, true), testing::IsEmpty());
      }
    }
    training.load(2);
    EXPECT_EQ(training.proof(), expected[1]);
  };
  if (num_ranks > 1) return run_thread_ranks(num_ranks, body);
  body(*make_self_communicator());
}

TEST(DeviceCheckpoints, AreTheStateBeforeTheStepsThatAreGivenToTheDeviceMeanwhile) {
  expect_saves_are_states(1, {}, false);
}
TEST(DeviceCheckpoints, OfShardedRanks) { expect_saves_are_states(2, {.zero_stage = 1}, false); }
TEST(DeviceCheckpoints, BesideStepsThatAreCaptured) { expect_saves_are_states(1, {}, true); }

}  // namespace
}  // namespace trireme::test
