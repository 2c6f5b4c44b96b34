// Checkpoints of trainings that are pruned, from layout to layout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/load/resume.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "tests/parallel/pruning/pruned_run.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using testing::ElementsAre;

void save(Communicator& world, TrainingSession& session, const std::string& folder) {
  FileCalls kernel;
  Snapshot snapshot;
  snapshot.take(world.rank(), session.state_slices());
  CommitRequest request{folder, {}, {}};
  request.state.step = 1;
  request.state.updates = session.step().num_updates();
  commit_checkpoint(kernel, world, request,
                    [&](const std::string& to) { return snapshot.write(kernel, to); });
}

std::vector<std::string> load(Communicator& world, TrainingSession& session, const std::string& folder,
                              LoadedState what = LoadedState::all) {
  const std::string place = folder + "/" + checkpoint_name(1);
  return session.load_checkpoint(place, read_manifest_together(world, place), what);
}

// In the middle of a schedule: what was chosen, and what is chosen then.
TEST(PruningCheckpoint, GoesFromLayoutToLayoutAndOn) {
  for (const PruneConfig& prune :
       {PruneConfig{
            .sparsity = 0.5, .budget = PruneBudget::global, .start_step = 1, .end_step = 5, .every = 2},
        PruneConfig{.zeros = 2, .of = 4, .start_step = 1, .end_step = 5, .every = 2}}) {
    PrunedRun run{.prune = prune};
    run.model.moe = {.num_experts = 2, .first_block = 1};
    const ParallelPlan layouts[] = {{.data = 1},
                                    {.data = 2, .zero_stage = 3, .bucket_mib = in_mib(3000)},
                                    {.data = 1, .tensor = 2},
                                    {.data = 2, .expert = 2, .zero_stage = 1}};
    const TemporaryFolder folder;
    Whole saved, went_on;
    on_ranks(run, [&](Communicator& world, TrainingSession& session) {
      train(session, 4);
      saved.add(session);
      save(world, session, folder.path("0"));
      train(session, 2);
      went_on.add(session);
    });
    EXPECT_LT(saved.part_zero, went_on.part_zero);
    std::string from = folder.path("0");
    for (size_t i = 0; i < std::size(layouts); ++i) {
      run.plan = layouts[i];
      const std::string to = folder.path("to" + std::to_string(i));
      Whole loaded, later;
      on_ranks(run, [&](Communicator& world, TrainingSession& session) {
        load(world, session, from);
        save(world, session, to);
        loaded.add(session);
        train(session, 2);
        later.add(session);
      });
      EXPECT_EQ(loaded.values, saved.values);
      if (i == 0) {
        EXPECT_EQ(later.values, went_on.values);
      }
      EXPECT_EQ(later.part_zero, went_on.part_zero);
      // Weights that a rounding parts may change places; there are next to none.
      int64_t others = 0, all = 0;
      for (const auto& [name, mask] : later.masks()) {
        const auto& expected = went_on.values.at(name);
        for (size_t k = 0; k < mask.size(); ++k) others += mask[k] != expected[k];
        all += std::ssize(mask);
      }
      EXPECT_LE(others, all / 1000);
      from = to;
    }
  }
}

// A run that was not pruned, and one that is not any more.
TEST(PruningCheckpoint, MayBeginAndEndWithPruning) {
  const TemporaryFolder folder;
  PrunedRun dense, sparse{.prune = {.sparsity = 0.5, .start_step = 3, .end_step = 3}};
  on_ranks(dense, [&](Communicator& world, TrainingSession& session) {
    train(session, 2);
    save(world, session, folder.path("dense"));
  });
  on_ranks(sparse, [&](Communicator& world, TrainingSession& session) {
    EXPECT_THAT(load(world, session, folder.path("dense"), LoadedState::all_but_new_optimizer),
                ElementsAre("pruned"));
    train(session, 1);
    EXPECT_EQ(session.step().pruner()->part_zero(), 0.5);
    save(world, session, folder.path("sparse"));
  });
  on_ranks(dense, [&](Communicator& world, TrainingSession& session) {
    EXPECT_THAT(load(world, session, folder.path("sparse")), ElementsAre());
    EXPECT_EQ(session.step().pruner(), nullptr);
    train(session, 1);
  });
}

}  // namespace
}  // namespace trireme::test
